"""The options of the `training:` section of an experiment, checked without importing a framework."""
