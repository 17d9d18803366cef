"""Floor 6: reward model, rejection sampling, fine-tuning, preferences, averaging (4.1)."""
