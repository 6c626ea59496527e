"""Codes of four signs, drawn as columns of pixels one after the other; the answer is the sign at each of the places."""

import numpy as np

SIGNS, PLACES, HEIGHT, WIDTH = 6, 4, 8, 6


def load(source=None, codes=100):
    del source
    random = np.random.default_rng(5)
    glyphs = random.random((SIGNS, HEIGHT, WIDTH)) > 0.5
    code = random.integers(0, SIGNS, (codes, PLACES))
    drawn = glyphs[code].transpose(0, 2, 1, 3).reshape(codes, HEIGHT, PLACES * WIDTH)
    return {"strip": (drawn + random.normal(0, 0.3, drawn.shape)).astype(np.float32), "code": code}
