"""Mutated configurations and files: an error is always a VitfaithError. ``python -m tests.fuzz 2000`` tries many."""
