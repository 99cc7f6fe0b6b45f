"""The evaluation report: one set of numbers, as JSON, Markdown and HTML."""
