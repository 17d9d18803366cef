"""The vocabulary inside a GGUF file, read and written: byte-level pairs, and SentencePiece's pairs of letters."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tokenizers import AddedToken, decoders, models, normalizers
from tokenizers import Tokenizer as Backend

from herd.core.errors import ArtifactError
from herd.tokens.pretokenizers import PRE_TOKENIZERS, PROBES
from herd.tokens.template import CHAT_TEMPLATE
from herd.tokens.tokenizer import CONTROL_TOKENS, LLAMA3, SpecialTokens, TextTokenizer

# Of `tokenizer.ggml.token_type`.
_NORMAL, _UNKNOWN, _CONTROL, _USER_DEFINED, _UNUSED, _BYTE = 1, 2, 3, 4, 5, 6
_BYTE_TOKEN = re.compile(r"<0x[0-9A-F]{2}>")
_HEADER, _TURN = "<|start_header_id|>", "<|eot_id|>"
# What llama.cpp takes for an ending by its text alone.
_KNOWN_ENDINGS = {
    "<|eot_id|>", "<|eom_id|>", "<|end_of_text|>", "<|im_end|>", "<|end|>", "<|endoftext|>", "<end_of_turn>", "<EOT>",
}  # fmt: skip


# ---- in ----


def from_gguf(fields: Mapping[str, Any], where: str) -> TextTokenizer:
    """The tokenizer that a GGUF file's fields describe. Raises ArtifactError for one of another kind."""
    try:
        tokens = list(fields["tokenizer.ggml.tokens"])
        kinds = list(fields.get("tokenizer.ggml.token_type", [_NORMAL] * len(tokens)))
        backend = _backend(fields, tokens, kinds, where)
    except KeyError as fault:
        raise ArtifactError(f"{where} does not say {fault}; convert the model again") from None
    special = [token for token, kind in zip(tokens, kinds, strict=True) if kind in (_CONTROL, _UNKNOWN)]
    backend.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in special])
    words = [token for token, kind in zip(tokens, kinds, strict=True) if kind == _USER_DEFINED]
    backend.add_tokens([AddedToken(token, special=False, normalized=False) for token in words])
    return TextTokenizer(backend, *_controls(fields, tokens, where))


def _backend(fields: Mapping[str, Any], tokens: Sequence[str], kinds: Sequence[int], where: str) -> Backend:
    model, split = fields.get("tokenizer.ggml.model"), fields.get("tokenizer.ggml.pre", "default")
    if model == "llama":
        return _sentencepiece(fields, tokens, kinds)
    if model != "gpt2" or split not in PRE_TOKENIZERS:
        raise ArtifactError(
            f"{where} has a tokenizer {model!r} that splits text as {split!r}; herd reads 'llama', and 'gpt2' with "
            f"{', '.join(PRE_TOKENIZERS)}"
        )
    merges = [tuple(merge.split(" ", 1)) for merge in fields["tokenizer.ggml.merges"]]
    pre_tokenizer, vocabulary = PRE_TOKENIZERS[split], {token: number for number, token in enumerate(tokens)}
    backend = Backend(models.BPE(vocabulary, merges, ignore_merges=pre_tokenizer.whole_words))  # type: ignore[arg-type]
    backend.pre_tokenizer = pre_tokenizer.build(
        add_prefix_space=bool(fields.get("tokenizer.ggml.add_space_prefix", False))
    )
    backend.decoder = decoders.ByteLevel()
    return backend


def _sentencepiece(fields: Mapping[str, Any], tokens: Sequence[str], kinds: Sequence[int]) -> Backend:
    """Letters are joined to the token of the highest score; what is in no token is spelled by its bytes.

    Source: Kudo and Richardson 2018 (SentencePiece); llama.cpp, `llm_tokenizer_spm`.
    """
    vocabulary = {token: number for number, token in enumerate(tokens)}
    scores = dict(zip(tokens, fields["tokenizer.ggml.scores"], strict=True))
    normal = {token for token, kind in zip(tokens, kinds, strict=True) if kind == _NORMAL}
    merges = sorted(_joins(normal), key=lambda pair: (-scores[pair[0] + pair[1]], vocabulary[pair[0] + pair[1]]))
    unknown = next((token for token, kind in zip(tokens, kinds, strict=True) if kind == _UNKNOWN), None)
    backend = Backend(models.BPE(vocabulary, merges, byte_fallback=True, fuse_unk=True, unk_token=unknown))
    blanks = normalizers.Replace(" ", "▁")
    prefix = fields.get("tokenizer.ggml.add_space_prefix", True)
    backend.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), blanks] if prefix else [blanks])
    strip = [decoders.Strip(" ", 1, 0)] if prefix else []
    backend.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), *strip])
    return backend


def _joins(tokens: set[str]) -> Iterator[tuple[str, str]]:
    """Every two tokens that make a third."""
    for token in tokens:
        for cut in range(1, len(token)):
            head, tail = token[:cut], token[cut:]
            if head in tokens and tail in tokens:
                yield head, tail


def _controls(fields: Mapping[str, Any], tokens: Sequence[str], where: str) -> tuple[SpecialTokens, str | None]:
    """Control tokens and the chat template; Llama 3's own format where the template is of its kind."""

    def named(name: str) -> str | None:
        number = fields.get(f"tokenizer.ggml.{name}_token_id")
        if number is not None and not 0 <= int(number) < len(tokens):
            raise ArtifactError(f"{where}: {name}_token_id is {number}, of {len(tokens)} tokens; convert it again")
        return None if number is None else tokens[int(number)]

    end = named("eos")
    if end is None:
        raise ArtifactError(f"{where} does not say which token ends a text; convert the model again")
    template, token_set = fields.get("tokenizer.chat_template"), set(tokens)
    if template is None and _HEADER in token_set and end == _TURN:
        template = CHAT_TEMPLATE  # only models that chat end a text with what ends a turn
    if template is not None and _HEADER in template and _TURN in template and token_set >= set(CONTROL_TOKENS[:10]):
        return LLAMA3, template
    turn = named("eot") or end
    pre_tokenizer = PRE_TOKENIZERS.get(fields.get("tokenizer.ggml.pre", "default"))
    begins = fields.get("tokenizer.ggml.model") == "llama" or (pre_tokenizer is not None and pre_tokenizer.begins)
    begin = named("bos") if fields.get("tokenizer.ggml.add_bos_token", begins) else None
    stops = tuple(dict.fromkeys(stop for stop in (end, turn, named("eom")) if stop is not None))
    pad = named("padding") or end
    # A template may write what is not put before texts.
    names = (("bos_token", named("bos")), ("eos_token", turn), ("pad_token", pad))
    named_tokens = tuple((name, token) for name, token in names if token is not None)
    return SpecialTokens(begin, end, turn, stops, pad, named_tokens), template


# ---- out ----


def to_gguf(tokenizer: TextTokenizer, rows: int) -> dict[str, Any]:
    """The fields that tell llama.cpp about a tokenizer; `rows` of the embedding, unused ones named so.

    The way text is cut is named by comparing ids over probes and over the vocabulary itself. Raises ArtifactError
    where no way that GGUF has gives the same ids.
    """
    tokenizer_json = tokenizer.backend_json
    if tokenizer_json["model"]["type"] != "BPE":
        raise ArtifactError(
            f"the tokenizer is of the kind {tokenizer_json['model']['type']}, which herd cannot write as GGUF; "
            "export a Hugging Face folder"
        )
    pieces = bool(tokenizer_json["model"].get("byte_fallback"))
    tokens, kinds = _list_tokens(tokenizer_json, rows, bytes_too=pieces)
    fields = {"tokenizer.ggml.tokens": tokens, "tokenizer.ggml.token_type": kinds} | _control_fields(tokenizer)
    probes = [*PROBES, *_probes_of(tokenizer, tokenizer_json)]
    expected = tokenizer.encode_batch(probes)
    example = ""
    for candidate in (
        _sentencepiece_candidates(tokenizer_json, tokens, kinds) if pieces else _byte_level_candidates(tokenizer_json)
    ):
        ids = from_gguf(fields | candidate, "the file to be").encode_batch(probes)
        differing = next((text for text, a, b in zip(probes, expected, ids, strict=True) if a != b), None)
        if differing is None:
            return candidate | fields
        example = example or f", for instance {differing[:40]!r}"
    raise ArtifactError(
        f"no tokenizer that a GGUF file can describe gives this one's ids{example}: {_habits(tokenizer_json)}; "
        "export a Hugging Face folder"
    )


def _list_tokens(tokenizer_json: Mapping[str, Any], rows: int, *, bytes_too: bool) -> tuple[list[str], list[int]]:
    """Every row's token and its kind."""
    tokens, kinds = [f"[PAD{number}]" for number in range(rows)], [_UNUSED] * rows
    unknown = tokenizer_json["model"].get("unk_token")
    for token, number in tokenizer_json["model"]["vocab"].items():
        tokens[number], kinds[number] = token, _NORMAL
    for added in tokenizer_json["added_tokens"]:
        kind = _CONTROL if added["special"] else _USER_DEFINED
        tokens[added["id"]], kinds[added["id"]] = added["content"], kind
        if kind == _USER_DEFINED and any(added.get(name) for name in ("lstrip", "rstrip", "single_word")):
            raise ArtifactError(
                f"the added token {added['content']!r} takes blanks beside it, or only whole words, which GGUF has no "
                "place for; export a Hugging Face folder"
            )
    for number, token in enumerate(tokens):
        if bytes_too and _BYTE_TOKEN.fullmatch(token):
            kinds[number] = _BYTE
        elif token == unknown:
            kinds[number] = _UNKNOWN
    return tokens, kinds


def _control_fields(tokenizer: TextTokenizer) -> dict[str, Any]:
    extra_stops = sorted(tokenizer.stop_token_ids - {tokenizer.eos_id, tokenizer.eot_id})
    named = [stop for stop in extra_stops if tokenizer.show([stop]) not in _KNOWN_ENDINGS]
    if len(named) > 1:
        raise ArtifactError(
            f"a GGUF file names three endings, and {tokenizer.show(named[1:2])} would be left out; name fewer stops"
        )
    fields: dict[str, Any] = {
        "tokenizer.ggml.eos_token_id": tokenizer.eos_id,
        "tokenizer.ggml.eot_token_id": tokenizer.eot_id,
        "tokenizer.ggml.padding_token_id": tokenizer.pad_id,
        "tokenizer.ggml.add_bos_token": bool(tokenizer.opening),
    }
    if named:
        fields["tokenizer.ggml.eom_token_id"] = named[0]
    if tokenizer.named_bos_id is not None:  # templates may write it where nothing is put before texts
        fields["tokenizer.ggml.bos_token_id"] = tokenizer.named_bos_id
    if tokenizer.template:
        fields["tokenizer.chat_template"] = tokenizer.template
    return fields


def _byte_level_candidates(tokenizer_json: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Ways that cut the probes as this tokenizer does come first: pairs that were never learnt hide how text is cut."""
    merges = [merge if isinstance(merge, str) else " ".join(merge) for merge in tokenizer_json["model"]["merges"]]
    own = _cuts(Backend.from_str(json.dumps(tokenizer_json)).pre_tokenizer)
    pre_tokenizers = PRE_TOKENIZERS.items()
    same_cuts = {
        name: _cuts(pre_tokenizer.build(add_prefix_space=False)) == own for name, pre_tokenizer in pre_tokenizers
    }
    for name in sorted(same_cuts, key=lambda name: not same_cuts[name]):
        yield {"tokenizer.ggml.model": "gpt2", "tokenizer.ggml.pre": name, "tokenizer.ggml.merges": merges}


def _cuts(pre_tokenizer: Any) -> list[list[str]]:
    """The pieces of each probe; none without a pre-tokenizer."""
    if pre_tokenizer is None:
        return []
    cuts = []
    for text in PROBES:
        cuts.append([piece for piece, _ in pre_tokenizer.pre_tokenize_str(text)])
    return cuts


def _sentencepiece_candidates(
    tokenizer_json: Mapping[str, Any], tokens: Sequence[str], kinds: Sequence[int]
) -> Iterator[dict[str, Any]]:
    """Scores that fall with the rank of the merge a token comes of, with and without a blank in front of a text."""
    if kinds.count(_BYTE) != 256:
        raise ArtifactError("the tokenizer spells by bytes and has not all 256; export a Hugging Face folder")
    ranks: dict[str, int] = {}
    for rank, merge in enumerate(tokenizer_json["model"]["merges"]):
        ranks.setdefault("".join(merge.split(" ", 1) if isinstance(merge, str) else merge), rank)
    rows = zip(tokens, kinds, strict=True)
    scores = [-float(ranks.get(token, len(ranks))) if kind == _NORMAL else 0.0 for token, kind in rows]
    for prefix in (True, False):
        yield {
            "tokenizer.ggml.model": "llama",
            "tokenizer.ggml.pre": "default",
            "tokenizer.ggml.scores": scores,
            "tokenizer.ggml.add_space_prefix": prefix,
        } | _unknown(kinds)


def _unknown(kinds: Sequence[int]) -> dict[str, Any]:
    return {"tokenizer.ggml.unknown_token_id": kinds.index(_UNKNOWN)} if _UNKNOWN in kinds else {}


def _probes_of(tokenizer: TextTokenizer, tokenizer_json: Mapping[str, Any]) -> list[str]:
    """Texts of the vocabulary's own tokens, alone and beside others: where one way of cutting parts what another lets
    be, one of them shows it. And every token that is found in text, with and without blanks around it."""
    token_texts = [tokenizer.decode([number]) for number in sorted(tokenizer_json["model"]["vocab"].values())]
    printable = [text for text in token_texts if text and "\ufffd" not in text]
    added = [entry["content"] for entry in tokenizer_json["added_tokens"] if not entry["special"]]
    pairs = [first + second for first, second in itertools.pairwise(printable)]
    around = [f"a{token}b {token} c\n{token}\n{token}{token}" for token in added]
    return [*printable, *(f" {text}" for text in printable), *pairs, *around]


def _habits(tokenizer_json: Mapping[str, Any]) -> str:
    """What of a tokenizer stands in the way, as far as its settings tell."""
    text = str(tokenizer_json.get("pre_tokenizer"))
    if tokenizer_json.get("normalizer") and not tokenizer_json["model"].get("byte_fallback"):
        return f"it changes text before it is cut ({tokenizer_json['normalizer'].get('type')})"
    if "'add_prefix_space': True" in text:
        return "it puts a blank in front of a text (add_prefix_space), which llama.cpp does not do for byte-level pairs"
    return "it cuts or joins text in a way of its own"
