"""Faithfulness of Vision Transformer explanations."""
