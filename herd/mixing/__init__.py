"""Floor 6: how much of which source (3.1.2)."""
