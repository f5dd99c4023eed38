"""Where samples come from: a module for each protocol, which reads it and keeps nothing."""
