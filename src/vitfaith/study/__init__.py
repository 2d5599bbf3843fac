"""A study: from YAML to a checked configuration, and from that to what must exist and what each job depends on.

Imports neither torch nor timm.
"""
