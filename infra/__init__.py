"""Where Tidegate works: store, tracking, processes."""
