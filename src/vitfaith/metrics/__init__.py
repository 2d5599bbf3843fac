"""Metrics: how faithful a map is, read from the model's answers to perturbed images."""

from vitfaith.registry import import_beside

import_beside(__name__, __path__)
