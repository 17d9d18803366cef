"""Learns which pairs of bytes to merge."""

from __future__ import annotations

from collections.abc import Iterator

from tokenizers import AddedToken, Regex, decoders, models, pre_tokenizers, processors, trainers
from tokenizers import Tokenizer as Backend

from herd.tokens.tokenizer import CONTROL_TOKENS, PATTERN, TextTokenizer


def learn(texts: Iterator[str], *, pairs: int, digits_together: bool) -> TextTokenizer:
    """A tokenizer whose `pairs` base tokens (256 bytes among them) are merged from `texts`.

    digits_together: whether up to three digits may become one token, as in Llama 3; without it no merge
    ever joins digits, which small models need to do sums, and the splitting of text stays the same.
    Source: Sennrich et al. 2016; Llama 3, 3.2.
    """
    backend = Backend(models.BPE())
    split = pre_tokenizers.Split(Regex(PATTERN), "isolated")
    to_bytes = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    learning = (
        [split, to_bytes] if digits_together else [split, pre_tokenizers.Digits(individual_digits=True), to_bytes]
    )
    backend.pre_tokenizer = pre_tokenizers.Sequence(learning)
    trainer = trainers.BpeTrainer(
        vocab_size=pairs, initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()), show_progress=False
    )
    backend.train_from_iterator(texts, trainer)
    return finish(backend)


def finish(backend: Backend) -> TextTokenizer:
    """Llama 3's tokenizer around a model of pairs: its splitting, its control tokens, its opening of a text."""
    split = pre_tokenizers.Split(Regex(PATTERN), "isolated")
    to_bytes = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    backend.pre_tokenizer = pre_tokenizers.Sequence([split, to_bytes])
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in CONTROL_TOKENS])
    begin = CONTROL_TOKENS[0]
    backend.post_processor = processors.Sequence(
        [
            processors.ByteLevel(trim_offsets=False),
            processors.TemplateProcessing(
                single=f"{begin} $A",
                pair=f"{begin} $A {begin} $B",
                special_tokens=[(begin, backend.token_to_id(begin))],
            ),
        ]
    )
    return TextTokenizer(backend)
