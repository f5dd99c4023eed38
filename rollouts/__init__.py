"""Feature flags and staged deployments."""
