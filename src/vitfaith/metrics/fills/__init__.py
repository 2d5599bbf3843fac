"""Fills: what removed pixels become."""
