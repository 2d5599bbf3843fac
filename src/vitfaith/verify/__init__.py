"""Verification of a folder of results: every file as it was written, and what the study's plan expects."""
