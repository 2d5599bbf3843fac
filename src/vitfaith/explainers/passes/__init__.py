"""Passes that explainers share: what the network does on the way, recorded once for all of them."""
