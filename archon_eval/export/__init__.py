"""Training data of finished evals: final answers, and pairs of a better and a worse one (`archon export`)."""
