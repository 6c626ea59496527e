"""From checked values to predictions: batching, parity, explanations."""
