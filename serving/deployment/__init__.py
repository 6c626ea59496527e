"""Releases, the hand-over from one to the next, and the client."""
