"""The target: its columns, what is told of them, and what a network learns of a class, a text or boxes."""
