"""Requests and answers of an endpoint, kept encrypted: what a later release is tried with."""
