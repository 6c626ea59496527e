"""Which customers leave: a project as people have it, with features, a model and a training script of its own."""
