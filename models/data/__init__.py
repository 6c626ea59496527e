"""Columns of raw values, where they come from and how they are kept; no framework."""
