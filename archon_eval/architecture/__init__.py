"""What an architecture is: its components and layers, the rules for them, their prompts, and the files they come from."""
