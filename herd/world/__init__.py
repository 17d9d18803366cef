"""Floor 7, beside the recipes: a small closed world with known truth, and all that a run needs of it.

A plug-in of sources of pages, simulated annotators, tasks, a verifier and tools: nothing of herd but the recipe `tiny`
and the studies imports it. It is a measuring instrument: a model of a million weights can show on it what the recipe's
steps do. Nothing in it measures a general ability.
"""

NOTE = (
    "A small world with known truth is the measuring instrument here: its scores say what the recipe's steps do, not "
    "what the model could do elsewhere."
)
