"""Schedules: set, looked at and run; and the process of a home that keeps them."""
