"""Preference losses. One function is one loss; a new file here is found.

All take, for a batch of pairs, the log-probabilities of chosen and rejected answers under the policy minus
those under the reference, each summed over the answer's learnt tokens, in nats: [B].
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from herd.core.registry import Registry

losses: Registry[Callable[..., Tensor]] = Registry("losses", __name__)
