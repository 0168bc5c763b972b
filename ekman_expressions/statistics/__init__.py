"""What the scores are worth: chance, tests, uncertainty, and scores that need no threshold.

All functions are pure, on arrays and tables; only the step "statistics" reads an experiment.
"""
