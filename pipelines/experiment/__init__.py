"""The experiment file: its schema, how it is read, the gate."""
