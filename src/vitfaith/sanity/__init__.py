"""Sanity checks of explainers: they explain again, with random weights, for another class, or under noise."""

from vitfaith.registry import import_beside

import_beside(__name__, __path__)
