"""What is learned: readers, transforms, Keras model families, training."""
