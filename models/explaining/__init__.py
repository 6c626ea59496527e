"""Explanations of predictions: integrated gradients."""
