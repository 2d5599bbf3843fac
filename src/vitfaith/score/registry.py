"""The registry of metrics that score a map against the model's responses."""

from __future__ import annotations

from vitfaith.registry import Registry

METRICS: Registry = Registry("metric")
"""Entries carry the trait ``direction``: "higher" or "lower" is better."""
