"""Checks of an experiment before any step runs, without heavy imports."""
