"""Trained models of others: what they take and answer, and the file that serves them."""
