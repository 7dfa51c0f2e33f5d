"""Architectures of the papers as YAML, each citing its source."""
