"""From an experiment to steps with content-hashed keys."""
