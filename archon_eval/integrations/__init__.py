"""How an architecture is reached: as an Inspect model, as an lm-eval model, from Python, and from old config files."""
