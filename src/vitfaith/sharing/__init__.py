"""Finished studies as benchmarks that others can join: what is exported, and how maps from outside are added."""
