"""Smoothed predictions."""
