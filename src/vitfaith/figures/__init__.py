"""Figures: one module per figure, drawn from the tables of an experiment."""

from vitfaith.registry import import_beside

import_beside(__name__, __path__)
