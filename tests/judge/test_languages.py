"""The language of an answer."""

from __future__ import annotations

from herd.judge.languages import detect_language
from tests.judge.needs import needs_langdetect

# Short and of two languages, so that a detector that draws at random says now this, now that.
DOUBTFUL = "sol la mi re. Danke, merci, ja oui no si."


@needs_langdetect
def test_languages_are_told_alike_in_sixty_tries() -> None:
    assert detect_language("This is plainly an English sentence about the weather.") == "en"
    assert detect_language("Das ist ganz klar ein deutscher Satz über das Wetter.") == "de"
    assert detect_language("12345 !!!") is None
    assert len({detect_language(DOUBTFUL) for _ in range(60)}) == 1
