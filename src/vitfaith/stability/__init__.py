"""Stability: how far the map of an image under a condition resembles its map in a reference condition."""

from vitfaith.stability.compare import stability_table
from vitfaith.stability.registry import STABILITY_MEASURES

__all__ = ["STABILITY_MEASURES", "stability_table"]
