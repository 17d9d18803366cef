"""Floor 5: what a model can do (5)."""
