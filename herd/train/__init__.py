"""Floor 3: one training loop for pre-training, reward models, fine-tuning and preferences (3.3)."""
