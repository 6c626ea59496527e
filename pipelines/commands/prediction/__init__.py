"""The command `predict`: by an endpoint, by a bundle in one process, or in shards."""
