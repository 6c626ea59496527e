"""Fine-tuning: a network for some digits on top of convolutions that learned others."""
