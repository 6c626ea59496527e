"""The keys of a home, and the signatures of its releases."""
