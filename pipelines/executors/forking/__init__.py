"""The fork server: a process that has imported what steps need, and forks a process for each of them."""
