"""How byte-level tokenizers cut text before pairs are merged, by the names that GGUF files give the ways."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tokenizers import Regex, pre_tokenizers

from herd.tokens.tokenizer import PATTERN

_GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
_QWEN = PATTERN.replace(r"\p{N}{1,3}", r"\p{N}")
_UPPER, _LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_ENDINGS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
_REST = r"| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"


def _by_case(ending: str, digits: str) -> str:
    """Words end where a capital follows a small letter."""
    first = rf"[^\r\n\p{{L}}\p{{N}}]?{_UPPER}*{_LOWER}+{ending}"
    return rf"{first}|[^\r\n\p{{L}}\p{{N}}]?{_UPPER}+{_LOWER}*{ending}|{digits}{_REST}"


@dataclass(frozen=True)
class PreTokenizer:
    """Patterns that cut text one after another. whole_words: a piece that is a token is taken without merging.
    begins: whether llama.cpp opens a text with the begin token where the file does not say."""

    patterns: tuple[str, ...]
    whole_words: bool = False
    begins: bool = False

    def build(self, *, add_prefix_space: bool) -> Any:
        splits = [pre_tokenizers.Split(Regex(pattern), "isolated") for pattern in self.patterns]
        # A blank at the front has to be there before text is cut.
        to_bytes = pre_tokenizers.ByteLevel(add_prefix_space=add_prefix_space, use_regex=False)
        if add_prefix_space and self.patterns == (_GPT2,):
            return pre_tokenizers.ByteLevel(add_prefix_space=True, use_regex=True)
        return pre_tokenizers.Sequence([*splits, to_bytes])


_LLAMA3 = PreTokenizer((PATTERN,), whole_words=True, begins=True)
_BY_DIGIT = PreTokenizer((r"\p{N}", _GPT2))
_PUNCTUATION = r"[\p{P}\$\+<=>\^~\|]+"

# In the order in which a name is looked for; ways that are alike have the name that is best known first.
# Source: llama.cpp, `llama-vocab.cpp` (the patterns, whole words and begin tokens of its names), and the
# `tokenizer.json` of the models that the names are of.
PRE_TOKENIZERS: dict[str, PreTokenizer] = {
    "llama-bpe": _LLAMA3,
    "gpt-2": PreTokenizer((_GPT2,)),
    "smollm": _BY_DIGIT,
    "qwen2": PreTokenizer((_QWEN,)),
    "dbrx": PreTokenizer((PATTERN,)),
    "tekken": PreTokenizer((_by_case("", r"\p{N}"),), whole_words=True, begins=True),
    "gpt-4o": PreTokenizer((_by_case(_ENDINGS, r"\p{N}{1,3}"),)),
    "deepseek-coder": PreTokenizer((r"[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", "[一-龥ࠀ-一가-퟿]+", r"\p{N}")),
    "default": PreTokenizer((_PUNCTUATION, _GPT2, r"\p{N}+", "[0-9][0-9][0-9]")),
    "llama3": _LLAMA3,
    "llama-v3": _LLAMA3,
    "smaug-bpe": PreTokenizer((PATTERN,)),
    "starcoder": _BY_DIGIT,
    "refact": _BY_DIGIT,
    "codeshell": _BY_DIGIT,
    "command-r": _BY_DIGIT,
    "olmo": PreTokenizer((_GPT2,)),
    "mpt": PreTokenizer((_GPT2,)),
}

# Whatever two ways of cutting treat differently: digits and letters side by side, runs of blanks and of line ends,
# capitals inside words, endings in either case, accents in one piece and in two, scripts without blanks, joined emoji.
PROBES = (
    "Hello there, be short.",
    " a blank at the front, and one at the end ",
    "It's I'M we'Ll they'D you've 'twas o'clock",
    "0 12 345 6789 01234567890 1,234.56 3.14e-10 x2y33z444 ٣٤٥ ½ ² Ⅷ 一二三",
    "camelCase HTTPServer XMLHttpRequest iPhone12Pro ÉCOLE École éÉ ǅ",
    "naïve café façade über Ångström; in two pieces: cafe\u0301 A\u030angstro\u0308m",
    "  two   three    four\ttab\t\ttabs \n newline\n\n\nthree\r\nwindows\r\n\r\n   \n   indented\n",
    "def f(x):\n    return x**2 != 3 and x[0]->y // z  # http://a.b/c?d=e&f=g\n\n",
    "!?!? ... --- ((([[[{{{ $5 +3 <=> ^~| `tick` \"quotes\" /\n//\n 'single'",
    "潮汐磨坊在水坝上。ひらがなとカタカナ、漢字。한국어 문장입니다. ภาษาไทย हिन्दी में العربية שלום Ελληνικά Русский",
    "🙂 👩‍👩‍👧 🇫🇷 ❤️ ✨🎉 e\u0301\u0302 \u00a0\u3000\u200b\u2028 end",
    "",
    " ",
    "\n",
)
