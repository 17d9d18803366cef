"""The scaling law."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from herd.core.artifacts import Artifact
from herd.report import plots
from herd.report.sections import Section, fill_template, results_of, sections
from herd.scaling.results import IsoFlopCurve, ScalingLaw


@sections.add(ScalingLaw, order=30)
def scaling_section(artifacts: Sequence[Artifact]) -> Section | None:
    """The curves of equal compute, and the law through their minima."""
    result = results_of(artifacts, ScalingLaw)[0]
    law = result.law
    if law is None:
        words = "Fewer than two curves have their minimum inside the sizes trained, so there is no law to draw."
    else:
        low, high = law.exponent_interval or (law.exponent, law.exponent)
        words = (
            f"Best tokens = {law.factor:.3g} x FLOPs^{law.exponent:.3f} (95 % interval of the exponent "
            f"{low:.3f} to {high:.3f}; Llama 3 found 0.537). For the base run's {result.target_flops:.2e} FLOPs "
            f"it says {law.best_tokens:,.0f} tokens."
        )
    html = fill_template(
        Path(__file__).with_suffix(".html"),
        words=words,
        drawing=plots.svg_markup(plots.scaling(result)),
        rows=[_curve(curve) for curve in result.curves],
    )
    return Section("scaling", "Scaling law", html)


def _curve(curve: IsoFlopCurve) -> dict[str, str]:
    return {
        "flops": f"{curve.flops:.1e}",
        "models": str(len(curve.tokens)),
        "fit": f"{curve.fit:.3f}",
        "tokens": f"{curve.best_tokens:,.0f}" if curve.inside else "outside the sizes trained",
        "loss": f"{curve.best_loss:.3f}" if curve.inside else "",
    }
