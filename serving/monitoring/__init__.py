"""What is counted while an endpoint answers: metrics, drift."""
