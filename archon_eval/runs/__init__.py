"""Finished evals: what a question took, how a score becomes a number, how a log is read, how an eval is run."""
