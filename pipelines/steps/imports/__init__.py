"""The parts of the step `import`: a trained model of each format, and its proof."""
