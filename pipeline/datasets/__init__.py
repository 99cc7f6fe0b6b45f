"""From what the user typed to one checked table of texts and labels."""
