"""Raw columns to model inputs: schema, splits, transforms; the endpoint runs the same code."""
