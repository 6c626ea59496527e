"""The `training:` part of an experiment: options, checked without a framework."""
