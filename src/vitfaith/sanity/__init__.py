"""Sanity checks: explain again with random weights, for another class, or with noise, and compare the maps."""

from vitfaith.registry import import_beside

import_beside(__name__, __path__)
