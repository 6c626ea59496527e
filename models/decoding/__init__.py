"""From network outputs to texts and boxes: greedy and beam search, sampling, non-maximum suppression.

Everything here is NumPy with plain settings, so that training and the endpoint decode with the same code.
"""
