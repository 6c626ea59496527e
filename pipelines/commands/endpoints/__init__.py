"""Endpoints: listed, rolled back, started again, their keys, logs and drift."""
