"""The simulated service of the demo: a program of its own that knows the portal as any customer does, by its doors."""
