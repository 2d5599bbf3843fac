"""Explainers: from a classifier, images and classes to maps on the patch grid."""

from vitfaith.registry import import_beside

import_beside(__name__, __path__)
