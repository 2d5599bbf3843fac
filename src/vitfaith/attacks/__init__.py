"""Attacks: what is done to an image before it is explained."""

from vitfaith.registry import import_beside

import_beside(__name__, __path__)
