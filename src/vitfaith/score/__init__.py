"""Faithfulness metrics as read-outs of one perturbation engine."""
