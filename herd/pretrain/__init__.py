"""Floor 6: initial pre-training, long context, annealing (3.4)."""
