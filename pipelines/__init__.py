"""What happens, in what order: experiment, plan, steps, executors, the command line."""
