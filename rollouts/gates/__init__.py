"""The gates of a stage: one module a kind, each known to the registry once this package is imported."""

from rollouts.gates import approval, metric, no_open_incident, registry, soak

__all__ = ["approval", "metric", "no_open_incident", "registry", "soak"]
