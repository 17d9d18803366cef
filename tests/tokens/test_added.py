"""Added tokens in texts: only those that stand at their places are tokens, and spans say which letters they are of."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import AddedToken, Regex, decoders, models, pre_tokenizers
from tokenizers import Tokenizer as Backend

from herd.tokens.added import ControlTokenReader, is_control
from herd.tokens.tokenizer import PATTERN

CONTROLS = ("<|a|>", "<|a|><|b|>", "[END]")


def bytes_only() -> Backend:
    """A token for every byte, and the control tokens after them; the first opens every text by itself."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    made = Backend(models.BPE({letter: number for number, letter in enumerate(letters)}, []))
    split = pre_tokenizers.Split(Regex(PATTERN), "isolated")
    made.pre_tokenizer = pre_tokenizers.Sequence(
        [split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    made.decoder = decoders.ByteLevel()
    made.add_tokens([AddedToken(token, special=True, normalized=False) for token in CONTROLS])
    return made


MARKED = ControlTokenReader(bytes_only(), CONTROLS)
PIECES = st.lists(st.sampled_from([*CONTROLS, "<|a|", "é", "漢", " ", "x", "[END", "0", "\n"]), max_size=8)


@given(PIECES, st.data())
def test_only_what_stands_at_its_place_is_a_token_and_spans_are_of_the_text(
    pieces: list[str], data: st.DataObject
) -> None:
    text = "".join(pieces)
    spelled = MARKED.find_controls(text)
    chosen = [place for place in spelled if data.draw(st.booleans())]
    read = MARKED.write(text, chosen)
    held = [span for span, control in zip(read.offsets, read.control_mask, strict=True) if control]
    assert held == chosen
    assert [256 + CONTROLS.index(text[slice(*span)]) for span in chosen] == [one for one in read.ids if one >= 256]
    for number, (start, end), control in zip(read.ids, read.offsets, read.control_mask, strict=True):
        assert control == (number >= 256)
        assert 0 <= start <= end <= len(text)
        assert control or end - start <= 1  # a byte is of one letter
    covered = {at for start, end in read.offsets for at in range(start, end)}
    assert covered == set(range(len(text)))


@given(PIECES)
def test_text_that_spells_tokens_out_stays_text(pieces: list[str]) -> None:
    text = "".join(pieces)
    ids = MARKED.encode(text)
    assert max(ids, default=0) < 256
    assert bytes_only().decode(ids, skip_special_tokens=False) == text
    whole = MARKED.read(text)
    assert whole.ids == bytes_only().encode(text, add_special_tokens=False).ids
    assert whole.control_mask == [number >= 256 for number in whole.ids]


def test_the_longest_token_is_found_and_letters_of_our_own_do_no_harm() -> None:
    assert MARKED.find_controls("x<|a|><|b|>[END]") == [(1, 11), (11, 16)]
    assert MARKED.find_controls("<|b|>") == []
    assert ControlTokenReader(bytes_only(), ()).find_controls("anything") == []
    private = f"{chr(0x10F000)}0{chr(0x10F000)}"  # looks like a name that stands for a control token
    assert max(MARKED.encode(private)) < 256


@pytest.mark.parametrize(
    ("text", "special", "control"),
    [
        ("<|x|>", False, True), ("<think>", False, True), ("word", True, True), ("word", False, False),
        ("   ", False, False), ("\n\t", False, False), ("naïve12", False, False), ("<0x0A>", True, False),
        ("<0x0A>", False, False), ("<0x0a>", False, True), ("a.b", False, True),
    ],
)  # fmt: skip
def test_what_steers_is_told_by_its_flag_and_its_letters(text: str, special: bool, control: bool) -> None:
    assert is_control(AddedToken(text, special=special)) is control


def test_what_stands_for_unknown_letters_is_no_control_token_there() -> None:
    backend = Backend(models.WordLevel({"<unk>": 0, "known": 1, "<e>": 2}, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    backend.add_tokens([AddedToken(token, special=True, normalized=False) for token in ("<unk>", "<e>")])
    marked = ControlTokenReader(backend, ("<unk>", "<e>"))
    read = marked.read("known odd <unk> <e>")
    assert (read.ids, read.control_mask) == ([1, 0, 0, 2], [False, False, True, True])
    assert marked.encode("odd <e>") == [0, 0]
