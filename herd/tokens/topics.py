"""What texts are about, by a linear model on static embeddings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax

from herd.core.errors import SettingsError
from herd.core.settings import input_path, parse_yaml
from herd.tokens.embeddings import embed

_SHARPNESS = 20.0  # how fast shares fall with cosine: a tenth less is a share seven times smaller


class Topics:
    """A linear model on static embeddings that gives each topic its share. weights: [257, topics], the last row the
    bias."""

    def __init__(self, names: Sequence[str], weights: NDArray[np.float64]) -> None:
        self.names, self.weights = tuple(names), weights

    def shares(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """How much each text is about each topic: [N, topics], rows sum to 1."""
        return softmax(embed(texts).astype(np.float64) @ self.weights[:-1] + self.weights[-1], axis=1)

    @classmethod
    def from_examples(cls, examples: Mapping[str, Sequence[str]]) -> Topics:
        """From a few texts for each topic: a text is about the topic whose texts' mean it is nearest to.

        What all topics have in common is taken out first: it is the language and no topic.
        """
        means = np.array([embed(list(texts)).mean(axis=0) for texts in examples.values()], np.float64)
        common = means.mean(axis=0)
        away = means - common
        away /= np.maximum(np.linalg.norm(away, axis=1, keepdims=True), 1e-9)
        return cls(tuple(examples), _SHARPNESS * np.vstack([away.T, -(away @ common)[None, :]]))

    @classmethod
    def fit(cls, texts: Sequence[str], labels: Sequence[str], ridge: float) -> Topics:
        """Softmax regression on labelled texts, with a ridge; convex."""
        names = sorted(set(labels))
        inputs = np.hstack([embed(texts).astype(np.float64), np.ones((len(texts), 1))])
        targets = np.eye(len(names))[[names.index(label) for label in labels]]

        def loss(flat: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
            weights = flat.reshape(inputs.shape[1], len(names))
            logs = log_softmax(inputs @ weights, axis=1)
            penalty = ridge * np.vstack([weights[:-1], np.zeros((1, len(names)))])
            value = -(targets * logs).sum() / len(texts) + 0.5 * float((penalty * weights).sum())
            return value, (inputs.T @ (np.exp(logs) - targets) / len(texts) + penalty).ravel()

        start = np.zeros(inputs.shape[1] * len(names))
        solution = minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": 500})
        return cls(names, solution.x.reshape(inputs.shape[1], len(names)))


def load_topics(file: Path) -> dict[str, list[str]]:
    """Topics and the texts that tell them, from YAML. Raises SettingsError for another form."""
    topics = parse_yaml(file.read_text(encoding="utf-8"), where=str(file))
    valid = isinstance(topics, dict) and all(_is_list_of_texts(texts) for texts in topics.values())
    if not valid or len(topics) < 2:
        raise SettingsError(
            f"{file}: topics are two names or more with a list of texts each, such as `name: [text, text]`"
        )
    return {str(name): texts for name, texts in topics.items()}


def _is_list_of_texts(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(text, str) for text in value)


def topics_of(files: Sequence[str], packaged: Path) -> dict[str, list[str]]:
    """The topics of these files together, or the packaged ones when there are none."""
    topic_sets = [load_topics(input_path(file)) for file in files] or [load_topics(packaged)]
    topics: dict[str, list[str]] = {}
    for topic_set in topic_sets:
        topics |= topic_set
    return topics
