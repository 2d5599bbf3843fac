"""Radii: bounds from samples, and the radii that certificates compute from them."""
