"""Triton kernels with which few rows read one token each: what takes time is that every weight crosses the memory once,
so each kernel makes as much as it can of the weights it holds. Results are rounded where `transformer.py` rounds
them, but for a norm's, which is never written."""

# What Triton declares differs from version to version.
# pyright: basic, reportArgumentType=false, reportOperatorIssue=false, reportGeneralTypeIssues=false
from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def project(
    x_ptr, gain_ptr, a_ptr, b_ptr, c_ptr, added_ptr, out_ptr, eps, rows, inputs, of_a, of_b, outputs,
    NORM: tl.constexpr, GATED: tl.constexpr, ADDED: tl.constexpr, ROWS: tl.constexpr, DEPTH: tl.constexpr,
):  # fmt: skip
    """x [B, inputs] times matrices that lie one below the other, [outputs, inputs], as [B, outputs].

    a, b, c: the matrices; of_a, of_b: the first ones' rows, multiples of ROWS. NORM: x is normed first. GATED: a is a
    gate and b what it lets through. ADDED: what the result is added to.
    """
    row, part = tl.program_id(0) % rows, tl.program_id(0) // rows  # rows side by side share what they read
    kind = gain_ptr.dtype.element_ty
    n = part * ROWS + tl.arange(0, ROWS)
    there = n < outputs
    x_ptr += row * inputs
    if GATED:
        matrix = a_ptr + n.to(tl.int64)[:, None] * inputs
        second_matrix = b_ptr + n.to(tl.int64)[:, None] * inputs
    else:
        if part * ROWS < of_a:
            matrix = a_ptr + n.to(tl.int64)[:, None] * inputs
        elif part * ROWS < of_a + of_b:
            matrix = b_ptr + (n - of_a).to(tl.int64)[:, None] * inputs
        else:
            matrix = c_ptr + (n - of_a - of_b).to(tl.int64)[:, None] * inputs
        second_matrix = matrix
    total = tl.zeros([ROWS], tl.float32)
    passed = tl.zeros([ROWS], tl.float32)
    squares = 0.0
    for start in range(0, inputs, DEPTH):
        k = start + tl.arange(0, DEPTH)
        inside = k < inputs
        weight_mask = there[:, None] & inside[None, :]
        weights = tl.load(matrix + k[None, :], mask=weight_mask, other=0.0)
        if GATED:
            more = tl.load(second_matrix + k[None, :], mask=weight_mask, other=0.0)
        x = tl.load(x_ptr + k, mask=inside, other=0.0).to(tl.float32)
        if NORM:
            squares += tl.sum(x * x)
            x *= tl.load(gain_ptr + k, mask=inside, other=0.0).to(tl.float32)
        total += tl.sum(weights.to(tl.float32) * x[None, :], 1)
        if GATED:
            passed += tl.sum(more.to(tl.float32) * x[None, :], 1)
    if NORM:  # one factor for the whole row, so that nothing waits for it
        scale = 1.0 / tl.sqrt(squares / inputs + eps)
        total *= scale
        passed *= scale
    total = total.to(kind).to(tl.float32)
    if GATED:
        gate = (total * tl.sigmoid(total)).to(kind).to(tl.float32)
        total = gate * passed.to(kind).to(tl.float32)
    if ADDED:
        total = total.to(kind).to(tl.float32)
        total += tl.load(added_ptr + row * outputs + n, mask=there, other=0.0).to(tl.float32)
    tl.store(out_ptr + row * outputs + n, total.to(out_ptr.dtype.element_ty), mask=there)


@triton.jit
def norm(x_ptr, gain_ptr, out_ptr, eps, inputs, DEPTH: tl.constexpr):
    """`RMSNorm` of x [B, inputs]; DEPTH at least `inputs`."""
    kind = gain_ptr.dtype.element_ty
    k = tl.arange(0, DEPTH)
    inside = k < inputs
    at = tl.program_id(0) * inputs + k
    x = tl.load(x_ptr + at, mask=inside, other=0.0).to(tl.float32)
    normed = (x * (1.0 / tl.sqrt(tl.sum(x * x) / inputs + eps))).to(kind).to(tl.float32)
    gain = tl.load(gain_ptr + k, mask=inside, other=0.0).to(tl.float32)
    tl.store(out_ptr + at, (normed * gain).to(kind), mask=inside)


@triton.jit
def _turned(at, mask, cos, sin, HALF: tl.constexpr, kind: tl.constexpr):
    """Both halves of heads, turned by their position."""
    first = tl.load(at, mask=mask, other=0.0).to(tl.float32)
    second = tl.load(at + HALF, mask=mask, other=0.0).to(tl.float32)
    turned1 = (first * cos - second * sin).to(kind).to(tl.float32)
    turned2 = (second * cos + first * sin).to(kind).to(tl.float32)
    return turned1, turned2


@triton.jit
def _halves(at, mask, HALF: tl.constexpr):
    """Both halves of heads, in fp32."""
    first = tl.load(at, mask=mask, other=0.0).to(tl.float32)
    return first, tl.load(at + HALF, mask=mask, other=0.0).to(tl.float32)


@triton.jit
def _store(at, first, second, mask, HALF: tl.constexpr):
    """Writes both halves of heads."""
    tl.store(at, first, mask=mask)
    tl.store(at + HALF, second, mask=mask)


@triton.jit
def _store_part(tops_ptr, sums_ptr, mixed_ptr, number, e, top, weight, mixed1, mixed2, WIDE: tl.constexpr):
    """What one part of the slots gives, for `gather`."""
    tl.store(tops_ptr + number, top)
    tl.store(sums_ptr + number, weight)
    to = mixed_ptr + number[:, None] * 2 * WIDE + e[None, :]
    tl.store(to, mixed1)
    tl.store(to + WIDE, mixed2)


@triton.jit
def attend(
    qkv_ptr, keys_ptr, values_ptr, table_ptr, lengths_ptr, cos_ptr, sin_ptr, mixed_ptr, tops_ptr, sums_ptr,
    columns, part_slots, scale, groups, SHARERS: tl.constexpr, FIT: tl.constexpr, HALF: tl.constexpr,
    WIDE: tl.constexpr, STEP: tl.constexpr, PARTS: tl.constexpr, SIZE: tl.constexpr, NEW: tl.constexpr,
):  # fmt: skip
    """Attention of one new token a row over the cache, in blocks [blocks, G, SIZE, E].

    table: the blocks of each row, [B, columns]. lengths: tokens before the new one. NEW: `qkv` holds queries, keys
    and values not yet turned, [B, (H + 2G) E], and key and value are written into the cache; else it holds queries
    alone, [B, H E], and the cache all keys and values. A program takes the queries that share a key/value head
    (SHARERS of them, FIT the next power of two) and one of PARTS of the slots. HALF: of a head's width, WIDE the next
    power of two. With one part `mixed` is what the next product wants, [B, H E]; with more it is
    [B G, PARTS, FIT, 2 WIDE] in fp32, and tops and sums [B G, PARTS, FIT] of the softmax.
    Source: Dao et al. 2023 (Flash-Decoding); Kwon et al. 2023 (PagedAttention).
    """
    pair, part = tl.program_id(0), tl.program_id(1)
    row, group = pair // groups, pair % groups
    kind = keys_ptr.dtype.element_ty
    length = tl.load(lengths_ptr + row).to(tl.int32)
    table_ptr += row * columns
    e = tl.arange(0, WIDE)
    fits = e < HALF
    heads = groups * SHARERS
    r = tl.arange(0, FIT)
    query_mask = (r < SHARERS)[:, None] & fits[None, :]
    begin = part * part_slots
    end = tl.minimum(begin + part_slots, length + 1)
    if NEW:
        cos = tl.load(cos_ptr + length * HALF + e, mask=fits, other=0.0)
        sin = tl.load(sin_ptr + length * HALF + e, mask=fits, other=0.0)
        qkv_ptr += row * (heads + 2 * groups) * 2 * HALF
        at = qkv_ptr + ((group * SHARERS + r) * 2 * HALF)[:, None] + e[None, :]
        query1, query2 = _turned(at, query_mask, cos[None, :], sin[None, :], HALF, kind)
        at_key = qkv_ptr + (heads + group) * 2 * HALF + e
        new_key1, new_key2 = _turned(at_key, fits, cos, sin, HALF, kind)
        at_value = qkv_ptr + (heads + groups + group) * 2 * HALF + e
        new_value1, new_value2 = _halves(at_value, fits, HALF)
        new_at = length + 0 * e
        new_here = fits & (new_at >= begin) & (new_at < begin + part_slots)
        block = tl.load(table_ptr + length // SIZE).to(tl.int64)
        place = ((block * groups + group) * SIZE + length % SIZE) * 2 * HALF + e
        _store(keys_ptr + place, new_key1.to(kind), new_key2.to(kind), new_here, HALF)
        _store(values_ptr + place, new_value1.to(kind), new_value2.to(kind), new_here, HALF)
    else:
        at = qkv_ptr + ((row * heads + group * SHARERS + r) * 2 * HALF)[:, None] + e[None, :]
        query1, query2 = _halves(at, query_mask, HALF)

    top = tl.full([FIT], -float("inf"), tl.float32)
    weight = tl.zeros([FIT], tl.float32)
    mixed1 = tl.zeros([FIT, WIDE], tl.float32)
    mixed2 = tl.zeros([FIT, WIDE], tl.float32)
    for start in range(begin, end, STEP):
        s = start + tl.arange(0, STEP)
        own = s < end  # the last step may reach into the next part
        old = own & ((s < length) | (not NEW))  # not yet to be read where another program writes it
        blocks = tl.load(table_ptr + s // SIZE, mask=own, other=0).to(tl.int64)
        offsets = (((blocks * groups + group) * SIZE + s % SIZE) * 2 * HALF)[:, None] + e[None, :]
        read = old[:, None] & fits[None, :]
        key1, key2 = _halves(keys_ptr + offsets, read, HALF)
        value1, value2 = _halves(values_ptr + offsets, read, HALF)
        if NEW:
            new = (s == length)[:, None]
            key1, key2 = tl.where(new, new_key1[None, :], key1), tl.where(new, new_key2[None, :], key2)
            value1, value2 = tl.where(new, new_value1[None, :], value1), tl.where(new, new_value2[None, :], value2)
        alike = query1[:, None, :] * key1[None, :, :] + query2[:, None, :] * key2[None, :, :]
        scores = tl.where(own[None, :], tl.sum(alike, 2) * scale, -float("inf"))
        higher = tl.maximum(top, tl.max(scores, 1))
        shares = tl.exp(scores - higher[:, None])
        shrink = tl.exp(top - higher)
        weight = weight * shrink + tl.sum(shares, 1)
        mixed1 = mixed1 * shrink[:, None] + tl.sum(shares[:, :, None] * value1[None, :, :], 1)
        mixed2 = mixed2 * shrink[:, None] + tl.sum(shares[:, :, None] * value2[None, :, :], 1)
        top = higher
    if PARTS == 1:
        mixed_ptr += row * heads * 2 * HALF
        to = mixed_ptr + ((group * SHARERS + r) * 2 * HALF)[:, None] + e[None, :]
        _store(to, (mixed1 / weight[:, None]).to(kind), (mixed2 / weight[:, None]).to(kind), query_mask, HALF)
    else:
        number = (pair * PARTS + part) * FIT + r
        _store_part(tops_ptr, sums_ptr, mixed_ptr, number, e, top, weight, mixed1, mixed2, WIDE)


@triton.jit
def gather(
    parts_ptr, tops_ptr, sums_ptr, mixed_ptr, groups, SHARERS: tl.constexpr, FIT: tl.constexpr, HALF: tl.constexpr,
    WIDE: tl.constexpr, PARTS: tl.constexpr,
):  # fmt: skip
    """What a head takes from all parts of the slots, [B, H E]; PARTS a power of two."""
    pair, r = tl.program_id(0), tl.program_id(1)
    number = (pair * PARTS + tl.arange(0, PARTS)) * FIT + r
    tops = tl.load(tops_ptr + number)
    shares = tl.exp(tops - tl.max(tops))
    total = tl.sum(shares * tl.load(sums_ptr + number))
    e = tl.arange(0, WIDE)
    at = parts_ptr + number[:, None] * 2 * WIDE + e[None, :]
    mixed1 = tl.sum(tl.load(at) * shares[:, None], 0) / total
    mixed2 = tl.sum(tl.load(at + WIDE) * shares[:, None], 0) / total
    head = (pair // groups) * groups * SHARERS + (pair % groups) * SHARERS + r
    to = mixed_ptr + head * 2 * HALF + e
    kind = mixed_ptr.dtype.element_ty
    tl.store(to, mixed1.to(kind), mask=e < HALF)
    tl.store(to + HALF, mixed2.to(kind), mask=e < HALF)
