"""The user's own project: its folder on the import path, references into it, and errors that name its lines."""
