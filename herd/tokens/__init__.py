"""Floor 2: documents and conversations to packed token ids (3.2)."""
