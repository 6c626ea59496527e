"""How a network ends: its last layer and activation, and what is put behind its answer."""
