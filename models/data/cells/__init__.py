"""Cells of texts: what they are, and how a column of them is read."""
