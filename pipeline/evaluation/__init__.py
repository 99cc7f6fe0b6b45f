"""How good it is, compared with what, and whether the difference is real."""
