"""One trial of the train step: its rows, log, results, and what its code reads."""
