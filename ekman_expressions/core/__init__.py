"""What everything stands on: errors, the six expressions, seeds, files and images."""
