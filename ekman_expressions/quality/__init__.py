"""How good an explanation is: what it depends on, and whether the model needs what it names."""
