"""Where a release comes from, and who did what."""
