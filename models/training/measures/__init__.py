"""Losses and metrics that Keras lacks."""
