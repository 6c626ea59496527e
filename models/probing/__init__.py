"""Rows that show whether a served model is the trained one, where held-out rows do not."""
