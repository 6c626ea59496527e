"""From parsed requests to predictions: the engine, batching, parity, explanations, bulk scoring."""
