"""The testbed's container images and programs: built once, kept in the cache."""
