"""How good a model is: metrics and figures."""
