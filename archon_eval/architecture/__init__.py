"""What an architecture is: layers of components, the rules for them, their prompts, and the files they come from."""
