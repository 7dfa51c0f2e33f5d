"""Statistics that scorers, search and report share: estimates with intervals, paired comparisons."""
