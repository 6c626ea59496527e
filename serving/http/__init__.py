"""HTTP itself: bodies, API keys, admission control, the access log."""
