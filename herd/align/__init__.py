"""Floor 6: from a model that continues text to one that answers people (4.1)."""
