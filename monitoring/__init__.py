"""Observes, judges, alerts, responds, tells."""
