"""What leads to a person or opens a door, masked."""

from __future__ import annotations

import ctypes

import numpy as np

from herd.corpus.kernels import KernelResult, PackedTexts, pointer
from herd.corpus.rewrites import RewriteResult, rewrites

PII_KINDS = ("emails", "ips", "phones", "keys")


class _Masks(ctypes.Structure):
    """As the kernels take them."""

    _fields_ = (("by", ctypes.c_char_p * len(PII_KINDS)),)


@rewrites.add
def mask_pii(
    texts: PackedTexts,
    *,
    emails: str = "email@example.com",
    ips: str = "192.0.2.1",
    phones: str = "555-0100",
    keys: str = "<KEY>",
    keep: tuple[str, ...] = (),
) -> RewriteResult:
    """Writes these in place of e-mail addresses, public IP addresses, phone numbers and access keys.

    keep: kinds left as they are (emails, ips, phones, keys). The defaults are set aside for documentation by
    RFC 2606, RFC 5737 and the North American numbering plan, so that a model learns the shape of such things
    and nobody's own.
    Source: Llama 3, 3.1.1, which drops sites with much of it; Penedo et al. 2024, 3.7, who mask the first two.
    """
    masks = _Masks()
    for number, (kind, mask) in enumerate(zip(PII_KINDS, (emails, ips, phones, keys), strict=True)):
        masks.by[number] = None if kind in keep else mask.encode()
    counts = np.zeros((texts.count, len(PII_KINDS)), np.int32)
    with KernelResult("herd_mask_private", texts, ctypes.byref(masks), pointer(counts)) as result:
        metrics = {kind: int(count) for kind, count in zip(PII_KINDS, counts.sum(axis=0), strict=True)}
        return RewriteResult(result.texts(), metrics=metrics)
