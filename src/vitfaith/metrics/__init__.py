"""Metrics: scores of maps, computed from the model's responses to perturbed images."""

from vitfaith.registry import import_beside

import_beside(__name__, __path__)
