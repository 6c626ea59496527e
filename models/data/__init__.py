"""Columns of raw values: where they come from and how they are stored; no framework."""
