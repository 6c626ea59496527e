"""A Kubernetes namespace: its API, and the objects that a run or a release puts there."""
