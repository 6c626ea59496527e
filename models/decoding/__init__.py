"""From what a network answers to what a person expects: greedy, beam, sampling, non-maximum suppression.

Everything here is NumPy and driven by plain settings, so that the same code decodes in training and at the endpoint.
"""
