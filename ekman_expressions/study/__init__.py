"""A study: its settings, its folders and its steps."""
