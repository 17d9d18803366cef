"""Floor 3: one sampler, several back-ends."""
