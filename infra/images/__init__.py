"""How our container images are built: `make images`."""
