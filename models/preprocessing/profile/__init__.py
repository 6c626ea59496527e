"""What is told of each column: what it holds, what it was taken for, what the model gets, and what looks wrong."""
