"""Floor 2: a small closed world with known truth.

It is a measuring instrument: a model of a million weights can show on it what the recipe's steps do.
Nothing in it measures a general ability.
"""
