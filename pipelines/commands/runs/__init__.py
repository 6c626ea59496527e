"""What runs did: listed, summarised, compared; and how they are deleted."""
