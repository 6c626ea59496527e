"""The process that serves a release: `python -m tidegate.serving.server`."""
