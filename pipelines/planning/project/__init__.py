"""The user's project at submit: the files that a run takes along, and what each step reaches of them and needs."""
