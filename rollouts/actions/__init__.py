"""The verbs: the only code that changes flags and deployments."""
