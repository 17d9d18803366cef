"""Floor 2: running code that a model wrote. Nothing else in herd may."""
