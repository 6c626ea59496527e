"""The pages: what they claim is checked, and their tables are made from the code."""
