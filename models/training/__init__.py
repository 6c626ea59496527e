"""The training of one model, from its initial weights to its last epoch."""
