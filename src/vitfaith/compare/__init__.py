"""Finished runs side by side: tables over any folder of results, and what moved between two of them."""
