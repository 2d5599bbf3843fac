"""Datasets: one module a reader, the choice of a subset, and a dataset opened by its reader."""

from vitfaith.registry import import_beside

import_beside(__name__, __path__)
