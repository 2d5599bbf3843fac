"""Checks that find faults of a study before hours are spent."""
