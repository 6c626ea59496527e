"""Candidate against champion, on rows that neither learned from."""
