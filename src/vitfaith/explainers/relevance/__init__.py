"""Relevance: rules that redistribute a class logit backwards through an unmodified timm ViT, Eva, Beit or their kin.

``rules`` holds one function a rule, ``weights`` the linear layers as the rules see them, ``record`` the pass that feeds
them, ``relprop`` the walk from the head to the pixels; ``modified`` swaps the backward rules of single modules for the time of a
call by the functions of ``forwards`` and ``gamma``, ``full_gradient`` reads gradient × input and bias terms of such a pass;
``support`` says which models have rules.
"""
