"""Sanity checks of explainers: they explain again, with random weights, for another class, or under noise."""
