"""What every network is made of: inputs, outputs, the user's own file, fine-tuning."""
