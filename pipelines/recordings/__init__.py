"""Recorded requests of a home's endpoints: where they are, their key, reading and forgetting them."""
