"""`manage.py up`: the servers, the web, the worker and the beat as children of one process.

Runs before there is a database, and in tests before there are settings: only `stack` knows Django.
"""
