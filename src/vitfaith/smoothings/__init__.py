"""Smoothings: noise and denoising between the image and the classifier."""

from vitfaith.registry import import_beside

import_beside(__name__, __path__)
