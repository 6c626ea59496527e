"""What a request must hold: read, cast or refused; described."""
