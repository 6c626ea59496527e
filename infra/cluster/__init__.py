"""What of Tidegate runs in a Kubernetes cluster: its images and its objects."""
