"""Handwritten digits of scikit-learn, 8 x 8 pixels of 0 to 16."""

import numpy as np
from sklearn.datasets import load_digits


def load(least=0, most=9):
    """The digits from `least` to `most`."""
    images, digits = load_digits(return_X_y=True)
    chosen = (digits >= least) & (digits <= most)
    return {"image": images[chosen].reshape(-1, 8, 8).astype(np.uint8), "digit": digits[chosen]}
