"""What a large model will score on a task, from small ones: log-likelihood by compute, then accuracy."""

import numpy as np

from herd.scaling.downstream import DownstreamResult, Sigmoid, back_test

if __name__ == "__main__":
    chance = np.random.default_rng(0)
    truth = Sigmoid(chance=0.25, top=0.97, steepness=22.0, middle=1.34)

    def measured(nll: float) -> float:
        return float(chance.binomial(1000, truth.at(nll))) / 1000

    budgets = [*np.geomspace(1e20, 1e22, 6), 3.8e25]
    ladder = [1.42 - 0.026 * (np.log10(flops) - 20) for flops in budgets]
    runs = [DownstreamResult(flops, nll, measured(nll), 1000) for flops, nll in zip(budgets, ladder, strict=True)]
    # An older family, trained with more compute than it needed: it tells how accuracy follows log-likelihood.
    runs += [
        DownstreamResult(1e23, nll, measured(nll), 1000, best_size=False) for nll in (1.36, 1.33, 1.31, 1.29, 1.27)
    ]
    test = back_test(runs, chance=0.25)
    low, high = test.forecast.accuracy_interval
    print(f"{test.forecast.orders:.1f} orders of magnitude beyond the largest run fitted")
    print(f"forecast {test.forecast.accuracy:.1%} [{low:.1%}, {high:.1%}], measured {test.measured:.1%}")
