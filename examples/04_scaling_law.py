"""From losses of small runs to the best size of a big one, on losses drawn from a known law."""

import numpy as np

from herd.scaling.laws import Chinchilla, parabola, power_law

if __name__ == "__main__":
    truth = Chinchilla()
    budgets = np.geomspace(6e18, 1e22, 6)
    best = []
    for budget in budgets:
        tokens = truth.best_tokens(budget) * np.geomspace(0.3, 3, 7)
        curve = parabola(tokens, [truth.loss(budget / (6 * d), d) for d in tokens])
        best.append(curve.tokens)
        print(f"{budget:.1e} FLOPs: best {curve.tokens:.3e} tokens, loss {curve.loss:.3f}, R² {curve.fit:.4f}")
    law = power_law(budgets, best)
    flops = 3.8e25
    print(f"tokens = {law.factor:.3g} x FLOPs^{law.exponent:.4f}")
    print(f"at {flops:.1e} FLOPs: {law.tokens(flops):.3e} tokens by the law, {truth.best_tokens(flops):.3e} in truth")
