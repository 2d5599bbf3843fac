"""Denoisers: networks that remove noise, their schedules, and how one is trained."""
