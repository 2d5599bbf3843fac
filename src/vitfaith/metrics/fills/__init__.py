"""Fills: replacements of removed pixels.

The modules are imported by name, in the order of the listings, so the fingerprint of code that imports this package covers
every fill.
"""

# isort: off
from vitfaith.metrics.fills import plain as plain
from vitfaith.metrics.fills import road as road
from vitfaith.metrics.fills import diffusion as diffusion
from vitfaith.metrics.fills import given as given
from vitfaith.metrics.fills import placeholder as placeholder
