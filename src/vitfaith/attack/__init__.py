"""The attack stage."""
