"""A first look at somebody's project, as text: nothing of it is imported or run."""
