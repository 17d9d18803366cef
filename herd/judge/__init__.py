"""Floor 4: everything that scores an answer."""
