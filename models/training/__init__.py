"""The training of one model, from its first weights to its last epoch."""
