"""Radii: bounds on votes, and what a certificate computes from them."""
