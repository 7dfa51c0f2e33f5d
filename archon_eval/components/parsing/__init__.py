"""Reads what components asked for out of a model's reply, one module per form of reply."""
