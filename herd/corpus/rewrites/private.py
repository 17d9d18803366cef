"""What leads to a person or opens a door, masked."""

from __future__ import annotations

import ctypes

import numpy as np

from herd.corpus.kernels import Packed, Result, pointer
from herd.corpus.rewrites import Rewritten, rewrites

KINDS = ("emails", "ips", "phones", "keys")


class _Masks(ctypes.Structure):
    """As the kernels take them."""

    _fields_ = (("by", ctypes.c_char_p * len(KINDS)),)


@rewrites.add
def mask_private(
    texts: Packed,
    *,
    emails: str = "email@example.com",
    ips: str = "192.0.2.1",
    phones: str = "555-0100",
    keys: str = "<KEY>",
    keep: tuple[str, ...] = (),
) -> Rewritten:
    """Writes these in place of e-mail addresses, public IP addresses, phone numbers and access keys.

    keep: kinds left as they are (emails, ips, phones, keys). The defaults are set aside for documentation by
    RFC 2606, RFC 5737 and the North American numbering plan, so that a model learns the shape of such things
    and nobody's own.
    Source: Llama 3, 3.1.1, which drops sites with much of it; Penedo et al. 2024, 3.7, who mask the first two.
    """
    masks = _Masks()
    for number, (kind, mask) in enumerate(zip(KINDS, (emails, ips, phones, keys), strict=True)):
        masks.by[number] = None if kind in keep else mask.encode()
    counts = np.zeros((texts.count, len(KINDS)), np.int32)
    with Result("herd_mask_private", texts, ctypes.byref(masks), pointer(counts)) as made:
        figures = {kind: int(found) for kind, found in zip(KINDS, counts.sum(axis=0), strict=True)}
        return Rewritten(made.texts(), figures=figures)
