"""The contract of an endpoint: what a request must hold, how it is read, and how an error describes it."""
