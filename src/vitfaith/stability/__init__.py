"""Stability: similarity between an image's map under a condition and its map in a reference condition."""

from vitfaith.registry import import_beside

import_beside(__name__, __path__)
