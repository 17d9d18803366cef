"""Shares that follow the losses of the run they are used in."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from herd.mixing.problem import MixProblem, uniform_weights
from herd.mixing.proxies import row_tokens
from herd.mixing.updates import FloatArray, bandit_update, normalize
from herd.train.loop import Step
from herd.train.rows import named_rng


class Exp3:
    """Chooses the source of every row; after each step it gives more to where they are higher.

    decay: of a reward's estimate. A reward is a source's loss over its share, so that what is seldom read counts for
    more when it is. Everything follows from seed and losses: a run repeated chooses the same rows.
    Source: Albalak et al. 2023 (ODM), algorithm 1.
    """

    def __init__(self, problem: MixProblem, decay: float = 0.9) -> None:
        self.problem, self.decay = problem, decay
        self.rewards = np.zeros(len(problem.sources))
        self._row_tokens = row_tokens(problem)
        self.weights: FloatArray = uniform_weights(len(problem.sources))
        self.path: list[FloatArray] = [self.weights]

    def choose(self, step: int, rows: int) -> Sequence[str]:
        """The sources of a step's rows."""
        rng = named_rng(self.problem.seed, "bandit", step)
        chances = normalize(self.weights / self._row_tokens)  # the shares are of tokens
        return [self.problem.sources[number] for number in rng.choice(len(chances), rows, p=chances)]

    def learn(self, step: Step) -> None:
        """From the losses by source that a step logged."""
        for number, name in enumerate(self.problem.sources):
            loss = step.metrics.get(f"loss/{name}")
            if loss is not None and not step.skipped:
                reward = loss / self.weights[number] / len(self.weights)
                self.rewards[number] = self.decay * self.rewards[number] + (1 - self.decay) * reward
        self.weights = bandit_update(self.rewards, step.number + 1)
        self.path.append(self.weights)
