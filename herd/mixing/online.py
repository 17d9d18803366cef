"""Shares that follow the losses of the run they are used in."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from herd.mixing.field import Field, uniform
from herd.mixing.proxies import row_tokens
from herd.mixing.updates import Numbers, bandit, shares_of
from herd.train.loop import Step
from herd.train.rows import generator


class Exp3:
    """Chooses the source of every row; told of a step's losses, it gives more to where they are higher.

    decay: of a reward's estimate. A reward is a source's loss over its share, so that what is seldom read counts for
    more when it is. Everything follows from seed and losses: a run repeated chooses the same rows.
    Source: Albalak et al. 2023 (ODM), algorithm 1.
    """

    def __init__(self, given: Field, decay: float = 0.9) -> None:
        self.given, self.decay = given, decay
        self.rewards = np.zeros(len(given.sources))
        self._row_tokens = row_tokens(given)
        self.shares: Numbers = uniform(len(given.sources))
        self.path: list[Numbers] = [self.shares]

    def choose(self, step: int, rows: int) -> Sequence[str]:
        """The sources of a step's rows."""
        chance = generator(self.given.seed, "bandit", step)
        chances = shares_of(self.shares / self._row_tokens)  # the shares are of tokens
        return [self.given.sources[number] for number in chance.choice(len(chances), rows, p=chances)]

    def learn(self, step: Step) -> None:
        """From the losses by source that a step logged."""
        for number, name in enumerate(self.given.sources):
            loss = step.metrics.get(f"loss/{name}")
            if loss is not None and not step.skipped:
                seen = loss / self.shares[number] / len(self.shares)
                self.rewards[number] = self.decay * self.rewards[number] + (1 - self.decay) * seen
        self.shares = bandit(self.rewards, step.number + 1)
        self.path.append(self.shares)
