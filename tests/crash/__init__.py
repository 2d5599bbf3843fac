"""Kills, stops, damage and full disks at random moments; ``python -m tests.crash 300`` prints survived/tried per kind."""
