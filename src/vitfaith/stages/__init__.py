"""The stages, one module a verb: each reads artifacts, calls one function of a noun, and writes artifacts."""
