"""What each step takes and leaves: read by the plan, by the steps, and by who starts them."""
