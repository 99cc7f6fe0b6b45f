"""Frozen transformers: finding, loading and running them. torch, transformers and OpenVINO are imported here alone."""
