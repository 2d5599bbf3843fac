"""Stability: how far the map of an image under a condition resembles its map in a reference condition."""

from vitfaith.registry import import_beside

import_beside(__name__, __path__)
