"""Floor 6: answering people (6)."""
