"""Why a model answers what it does: integrated gradients."""
