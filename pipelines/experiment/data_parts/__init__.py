"""The parts of `data:` in an experiment file."""
