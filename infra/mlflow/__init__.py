"""MLflow: its server here and in a cluster, and how runs get there."""
