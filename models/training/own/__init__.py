"""What the user's project gives to the training: losses, metrics, optimizers, callbacks, and a loop of its own."""
