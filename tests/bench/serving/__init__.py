"""`make bench-serving`: the endpoint beside what people would otherwise run, in turn, in one call."""
