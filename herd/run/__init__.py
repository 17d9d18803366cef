"""Running plans: the runner, its workers, executors, ranks, and what a person sees of them."""
