"""The kernel that every app stands on, and the wiring that sees them all."""
