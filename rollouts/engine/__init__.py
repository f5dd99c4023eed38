"""Deciding flags: pure, no Django, no clock, no I/O."""
