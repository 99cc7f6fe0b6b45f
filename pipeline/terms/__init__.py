"""Texts as the words and pieces of words they hold, and linear models on those: no transformer."""
