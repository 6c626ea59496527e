"""The inputs and outputs of each step: for the plan, the steps and the executors."""
