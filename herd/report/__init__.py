"""Floor 6: what a run did, in pictures."""
