"""REST doors and OFREP."""
