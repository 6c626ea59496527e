"""From raw columns to model inputs: schema, splits and transforms; the endpoint runs the same code."""
