"""Frozen transformers: finding, loading and running them. torch and transformers are imported here alone."""
