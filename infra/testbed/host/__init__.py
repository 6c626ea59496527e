"""The machine that the testbed runs on: its shell, packages, folders and settings."""
