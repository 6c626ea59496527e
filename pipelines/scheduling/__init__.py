"""What a schedule decides: its document in the store, and pure functions from one state to the next."""
