"""Runs an architecture on a conversation, traces what happens, and plans what it will cost."""
