"""The stages, one module per verb: each reads artifacts, calls one function of a noun, and writes artifacts."""
