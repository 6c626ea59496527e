"""The state of runs: the home folder, its copy in a cluster's store, bundles, checkpoints."""
