"""What pods have and say: policy, secrets and security of their specs; whether they are ready, and why not."""
