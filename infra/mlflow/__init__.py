"""MLflow: its server, on this machine and in a cluster, and the logging of runs to it."""
