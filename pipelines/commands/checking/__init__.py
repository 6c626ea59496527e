"""`tidegate check` of a cluster."""
