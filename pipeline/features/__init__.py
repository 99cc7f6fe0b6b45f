"""The row-level feature store and the extraction that fills it."""
