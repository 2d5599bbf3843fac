"""Results of an experiment as tidy tables, and as Markdown, CSV and LaTeX."""
