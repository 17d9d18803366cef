"""Floor 6: small runs that say how large the big one should be (3.2.1)."""
