"""Frozen transformers: finding, loading and running them; the home of torch, transformers and the other engines."""
