"""What all networks share: inputs, outputs, the user's own model file, fine-tuning, prediction."""
