"""Which tokens of a model's folder steer, and its chat templates, as Hugging Face's files name them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tokenizers import AddedToken
from tokenizers import Tokenizer as Backend

from herd.core.errors import ArtifactError
from herd.tokens.template import CHAT_TEMPLATE

TOKENIZER_CONFIG_FILE = "tokenizer_config.json"
SPECIAL_TOKEN_NAMES = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
_TEMPLATE = "chat_template.jinja"
_OTHER_TEMPLATES = "additional_chat_templates"
DEFAULT, TOOL_USE = "default", "tool_use"
_NAMED = (
    "<|begin_of_text|>",
    "<|end_of_text|>",
    "<|reserved_special_token_0|>",
    "<|reserved_special_token_1|>",
    "<|finetune_right_pad_id|>",
    "<|step_id|>",
    "<|start_header_id|>",
    "<|end_header_id|>",
    "<|eom_id|>",
    "<|eot_id|>",
    "<|python_tag|>",
    "<|image|>",
)
# In the order of Llama 3.1; the first one follows the last pair of the vocabulary.
CONTROL_TOKENS = _NAMED + tuple(f"<|reserved_special_token_{n}|>" for n in range(2, 246))
_REQUIRED = _NAMED[:10]


@dataclass(frozen=True)
class SpecialTokens:
    """Which tokens of a vocabulary steer. bos: opens a text, None where nothing does. eos: ends a document. eot: ends
    a turn. stops: after which a model has said its piece. pad: fills rows. named: what chat templates call tokens, such
    as `bos_token`."""

    bos: str | None
    eos: str
    eot: str
    stops: tuple[str, ...]
    pad: str
    named: tuple[tuple[str, str], ...] = field(default=(), compare=False)

    @property
    def names(self) -> dict[str, str]:
        """Of the tokens that have one in `tokenizer_config.json`."""
        if self.named:
            return dict(self.named)
        return {"bos_token": self.bos or "", "eos_token": self.eot, "pad_token": self.pad}

    def required(self) -> tuple[str, ...]:
        """What a vocabulary must have."""
        return _REQUIRED if self is LLAMA3 else tuple(dict.fromkeys((self.eos, self.eot, self.pad)))


# Source of the stops: llama-models, `tokenizer.py`.
LLAMA3 = SpecialTokens(
    bos="<|begin_of_text|>",
    eos="<|end_of_text|>",
    eot="<|eot_id|>",
    stops=("<|end_of_text|>", "<|eom_id|>", "<|eot_id|>"),
    pad="<|finetune_right_pad_id|>",
)


def is_llama3(backend: Backend, template: str | None, stops: Iterable[str]) -> bool:
    """Whether a model speaks Llama 3's format as `Llama3ChatTemplate` writes it: its template is ours, or it has none
    and ends turns as Llama 3 does."""
    chats = template == CHAT_TEMPLATE or (template is None and LLAMA3.eot in stops)
    return chats and all(backend.token_to_id(token) is not None for token in _REQUIRED)


def read_folder(folder: Path, backend: Backend) -> tuple[SpecialTokens, str | None, dict[str, str]]:
    """Control tokens, the chat template and the other named ones. Tokens that only the configuration adds are added to
    `backend`, as transformers does.

    Raises ArtifactError for files that are no JSON or do not belong together.
    """
    config = _read(folder / TOKENIZER_CONFIG_FILE)
    if "added_tokens_decoder" not in config:
        config = config | _read(folder / "special_tokens_map.json")
    templates = _templates(folder, config)
    template = templates.pop(DEFAULT, None)
    if templates and template is None:
        raise ArtifactError(
            f"{folder} has chat templates named {', '.join(sorted(templates))} and none named {DEFAULT}; rename one"
        )
    named = {name: text for name in SPECIAL_TOKEN_NAMES if (text := _content(config.get(name))) is not None}
    _add_tokens(backend, config, named)
    ends = [token for token in (named.get("eos_token"), *_stop_tokens(folder, config, backend)) if token]
    if is_llama3(backend, template, ends):
        return LLAMA3, template or CHAT_TEMPLATE, templates
    if not ends:
        raise ArtifactError(f"{folder / TOKENIZER_CONFIG_FILE} names no eos_token; herd needs to know what ends a text")
    for name in ("bos_token", "eos_token"):
        if name in named and backend.token_to_id(named[name]) is None:
            raise ArtifactError(
                f"{folder / TOKENIZER_CONFIG_FILE}: the vocabulary has no {named[name]!r}, the {name}; fetch it again"
            )
    pad = named.get("pad_token") or filling(backend, named, ends) or ends[0]
    special_tokens = SpecialTokens(
        bos=_begin(folder, backend),
        eos=ends[0],
        eot=ends[0],
        stops=tuple(dict.fromkeys(ends)),
        pad=pad if backend.token_to_id(pad) is not None else ends[0],
        named=tuple(named.items()),
    )
    return special_tokens, template, templates


# What fills rows and stands in no text. Source: the tokenizers of Llama 3.1, OLMo 2, Qwen2; others' common names.
_PADS = ("<|finetune_right_pad_id|>", "<|pad|>", "<pad>", "[PAD]", "<|endoftext|>")


def filling(backend: Backend, named: Mapping[str, str], ends: Iterable[str]) -> str | None:
    """A token that fills rows and ends no answer; None where the vocabulary has none."""
    known = backend.get_added_tokens_decoder().values()
    control = {token.content for token in known}
    candidates = (*_PADS, named.get("unk_token"))
    return next((token for token in candidates if token in control and token not in ends), None)


def opening_tokens(backend: Backend) -> list[str]:
    """The tokens that the vocabulary's own file puts before a text."""
    plain = backend.encode("a", add_special_tokens=False).tokens
    full = backend.encode("a", add_special_tokens=True).tokens
    places = [start for start in range(len(full)) if full[start : start + len(plain)] == plain]
    return full[: places[-1]] if places else []


def _begin(folder: Path, backend: Backend) -> str | None:
    """What the vocabulary's own file says; transformers does not ask the configuration where there is one."""
    opening = opening_tokens(backend)
    if len(opening) > 1:
        raise ArtifactError(f"{folder} opens texts with {' '.join(opening)}; herd knows one token that opens a text")
    return opening[0] if opening else None


def _stop_tokens(folder: Path, config: Mapping[str, Any], backend: Backend) -> list[str]:
    """Endings that the model's own files list by id, and those that herd kept by name."""
    stops = list(config.get("stop_tokens") or [])
    for name in ("generation_config.json", "config.json"):
        value = _read(folder / name).get("eos_token_id")
        ids = value if isinstance(value, list) else [] if value is None else [value]
        if any(not isinstance(token_id, int) or isinstance(token_id, bool) for token_id in ids):
            raise ArtifactError(f"{folder / name}: eos_token_id is {value!r}, which is no token and no list of some")
        stops += [token for token_id in ids if token_id >= 0 and (token := backend.id_to_token(token_id)) is not None]
        if ids:  # the first file that names one is what transformers goes by
            break
    return stops


def _add_tokens(backend: Backend, config: Mapping[str, Any], named: Mapping[str, str]) -> None:
    """Source: transformers, `tokenization_utils_tokenizers.py`, `TokenizersBackend.__init__`."""
    listed = config.get("added_tokens_decoder") or {}
    have = {repr(token) for token in backend.get_added_tokens_decoder().values()}
    for _, entry in sorted(listed.items(), key=lambda pair: int(pair[0])):
        token = AddedToken(**{name: value for name, value in entry.items() if name != "__type"})
        if repr(token) not in have:
            backend.add_tokens([token])
    contents = {token.content for token in backend.get_added_tokens_decoder().values()}
    for text in named.values():
        # One that the vocabulary lacks would get a number for which the model has no row.
        if text not in contents and backend.token_to_id(text) is not None:
            backend.add_tokens([AddedToken(text, special=True)])


def _templates(folder: Path, config: Mapping[str, Any]) -> dict[str, str]:
    value = config.get("chat_template")
    try:
        if isinstance(value, list):
            value = {entry["name"]: entry["template"] for entry in value}
        templates: dict[str, Any] = (
            dict(value) if isinstance(value, dict) else {} if value is None else {DEFAULT: value}
        )
    except (KeyError, TypeError, ValueError):
        templates = {DEFAULT: None}
    files = {DEFAULT: folder / _TEMPLATE} | {
        file.stem: file for file in sorted((folder / _OTHER_TEMPLATES).glob("*.jinja"))
    }
    own = {name: file.read_text(encoding="utf-8") for name, file in files.items() if file.is_file()}
    templates = own or templates
    if not all(isinstance(template, str) for template in templates.values()):
        raise ArtifactError(
            f"{folder / TOKENIZER_CONFIG_FILE}: chat_template is neither a text nor a list of named texts; mend it"
        )
    return templates


def _content(value: Any) -> str | None:
    text = value.get("content") if isinstance(value, dict) else value
    return text if isinstance(text, str) and text else None


def _read(file: Path) -> dict[str, Any]:
    try:
        config = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    except ValueError as fault:
        raise ArtifactError(f"{file} is not JSON ({fault}); fetch or make the model again") from None
    if not isinstance(config, dict):
        raise ArtifactError(f"{file} holds a {type(config).__name__}, not an object; fetch or make the model again")
    return config
