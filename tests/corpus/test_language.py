"""Languages are recognised from the beginnings of texts, and what is none is called so."""

from __future__ import annotations

import numpy as np
import pytest

from herd.corpus.language import READ_CHARACTERS, detect_languages

TEXTS = {
    "en": "The cat sat with the dog, and that was good to see for all of us in the house.",
    "de": "Der Hund und die Katze sind nicht zu Hause, weil sie in die Stadt gegangen sind.",
    "fr": "Le chat et le chien ne sont pas dans la maison, parce qu'ils sont partis en ville.",
    "ru": "Кошка и собака не дома, потому что они пошли в город за хлебом.",
    "ja": "猫と犬は町へパンを買いに行ったので、家にはいません。",
}


def test_each_text_has_its_language_in_order() -> None:
    found = detect_languages(iter(TEXTS.values()))
    assert found.codes.tolist() == list(TEXTS)
    assert ((found.scores > 0.5) & (found.scores <= 1)).all()


@pytest.mark.parametrize("text", ["", "   \n", "1234 5678 -- ...", "🙂🙂"])
def test_what_is_no_language_is_called_so_with_no_certainty(text: str) -> None:
    found = detect_languages([text])
    assert (found.codes[0], found.scores[0]) == ("und", 0.0)


def test_no_texts_have_no_languages() -> None:
    found = detect_languages([])
    assert (found.codes.dtype.kind, found.scores.dtype) == ("U", np.float64)
    assert len(found.codes) == len(found.scores) == 0


def test_only_the_beginning_is_read() -> None:
    english = (TEXTS["en"] + " ") * (READ_CHARACTERS // len(TEXTS["en"]) + 1)
    alone, followed = (
        detect_languages([english[:READ_CHARACTERS]]),
        detect_languages([english[:READ_CHARACTERS] + TEXTS["ru"] * 999]),
    )
    assert followed.codes.tolist() == alone.codes.tolist() == ["en"]
    assert followed.scores.tolist() == alone.scores.tolist()
