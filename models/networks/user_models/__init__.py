"""The model that the user's own code builds: called, checked, and whether it can be stored."""
