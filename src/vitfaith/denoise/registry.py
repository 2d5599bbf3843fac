"""The registry of smoothings: what is done to an image before it is explained and classified."""

from __future__ import annotations

from vitfaith.registry import Registry

SMOOTHINGS: Registry = Registry("smoothing")
