"""Certificates: proved radii of predictions and maps behind a smoothing."""

from vitfaith.registry import import_beside

import_beside(__name__, __path__)
