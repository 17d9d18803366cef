"""Floor 2: the transformer of Llama 3 (3.2).

Letters in shapes: B batch, T tokens, D width, H query heads, G key/value heads, E head width, F hidden,
V vocabulary, L layers, S cache slots.
"""
