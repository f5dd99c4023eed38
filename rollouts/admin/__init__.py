"""Flags, change requests, releases, plans and deployments in the admin."""

from rollouts.admin import (
    audiences,
    change_requests,
    contexts,
    deployments,
    flags,
    plans,
    releases,
    segments,
    variable_names,
)

__all__ = [
    "audiences", "change_requests", "contexts", "deployments", "flags", "plans", "releases", "segments",
    "variable_names",
]  # fmt: skip
