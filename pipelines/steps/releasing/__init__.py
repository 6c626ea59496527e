"""What puts a release in place: the steps of a run call it, and a promotion from another target."""
