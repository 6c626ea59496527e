"""How single values become model inputs: numbers, categories and dates as one vector, ids as whole numbers."""
