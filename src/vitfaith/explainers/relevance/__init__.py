"""Relevance: rules that redistribute a class logit backwards through an unmodified timm ViT.

``rules`` holds one function a rule, ``record`` the pass that feeds them, ``relprop`` the walk from the head to the
pixels; ``modified`` swaps the backward rules of single modules for the time of a call, ``full_gradient`` reads
gradient × input and bias terms of such a pass; ``support`` says which models have rules.
"""
