"""The sections of ``benchmarks/gpu.py``: each yields rows of one table, one case at a time."""
