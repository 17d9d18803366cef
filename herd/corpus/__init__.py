"""Floor 6: web pages to clean documents (3.1)."""
