"""Rules that change documents: what goes, what stays, and that they take out and never write."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from herd.corpus.judging import parse_rule
from herd.corpus.kernels import pack_texts
from herd.corpus.rewrites import rewrites
from herd.corpus.stats import EDIT_STATS
from tests.corpus.test_filters import SENTENCE

GERMAN = "Der Hund und die Katze sind nicht zu Hause, weil sie mit uns in die Stadt gegangen sind, um Brot zu kaufen."
LINES = st.lists(
    st.sampled_from(
        [
            "A line that ends here.",
            "This one does not end",
            "BUY IT NOW OR NEVER.",
            "3 likes",
            "123 456",
            "We use cookies on this site.",
            "Please enable Javascript now.",
            "It is known [12] to all.",
            "{ x } is what it says.",
            "x" * 1001 + " is long.",
            "  Two.  ",
            "Read more...",
            "",
            "log 1 of the worker at port 7",
            "log 2 of the worker at port 9",
        ]
    ),
    max_size=9,
)


def rewritten(name: str, text: str, **settings: object) -> str:
    use = rewrites.configure(name, **settings)
    return rewrites.make(use)(pack_texts([text])).texts[0].as_py()


def test_lines_in_another_language_go() -> None:
    english, german = (
        SENTENCE.strip() + " " + SENTENCE.strip(),
        ("Der Hund und die Katze sind nicht zu Hause, weil sie mit uns in die Stadt gegangen sind, um Brot zu kaufen."),
    )
    text = "\n".join([english, german, "Kurze Zeile.", english])
    rule = parse_rule("foreign_lines")
    assert rewrites.make(rule)(pack_texts([text])).texts.to_pylist() == ["\n".join([english, "Kurze Zeile.", english])]
    kept = parse_rule({"foreign_lines": {"keep": ["de"]}})
    assert rewrites.make(kept)(pack_texts([text])).texts.to_pylist() == [text]


def test_lines_are_foreign_by_their_length_and_by_how_sure_that_is() -> None:
    english = f"{SENTENCE} {SENTENCE} {SENTENCE}"
    text = f"{english}\n{GERMAN}\n{english}"
    assert len(SENTENCE) < 100 <= len(GERMAN)
    assert rewritten("foreign_lines", text) == f"{english}\n{english}"
    assert rewritten("foreign_lines", text, min_characters=len(GERMAN) + 1) == text
    assert rewritten("foreign_lines", text, min_score=1.0) == text
    # Most of the letters decide, not most of the lines.
    short = f"{GERMAN * 9}\n{english}\n{english}"
    assert rewritten("foreign_lines", short) == GERMAN * 9
    found = rewrites.make(parse_rule("foreign_lines"))(pack_texts([text, short, "", SENTENCE]))
    assert found.metrics == {"foreign lines": 3}


@pytest.mark.parametrize("name", ["c4_lines", "refinedweb_lines", "repeated_ngram_lines"])
@settings(max_examples=40)
@given(LINES)
def test_lines_are_taken_out_and_counted_and_none_is_written(name: str, lines: list[str]) -> None:
    found = rewrites.make(rewrites.configure(name))(pack_texts(["\n".join(lines)]))
    left = [line for line in found.texts[0].as_py().split("\n") if line]
    came = iter(line.strip() for line in lines)
    marks = {"A line that ends here.", "It is known  to all."} if name == "c4_lines" else set()
    assert all(any(line == one or (line in marks and "[12]" in one) for one in came) for line in left)
    assert found.edits is not None
    edits = dict(zip(EDIT_STATS, found.edits[0].tolist(), strict=True))
    gone = ("few_words", "long_word", "unpunctuated", "javascript", "policy", "capitals", "numbers", "counters")
    assert edits["lines_in"] == len("\n".join(lines).splitlines())
    taken = sum(edits[reason] for reason in (*gone, "calls", "covered"))
    assert taken == sum(bool(line.strip()) for line in lines) - len(left)
    assert edits["words_out"] == sum(len(line.split()) for line in left)
    assert edits["words_in"] == sum(len(line.split()) for line in lines)


@pytest.mark.row(17, "thresholds")
@pytest.mark.parametrize(
    ("name", "text", "left"),
    [
        ("c4_lines", "This line ends here.\nThis one does not", "This line ends here."),
        ("c4_lines", "Too short.\nLong enough it is.", "Long enough it is."),
        ("c4_lines", "We use cookies on this site.\nA fact [12] is known[edit].", "A fact  is known."),
        ("c4_lines", "Please enable Javascript to go on.\nOr read this text instead.", "Or read this text instead."),
        ("c4_lines", "It goes on and on...\nIt ends here, at last!", "It ends here, at last!"),
        ("refinedweb_lines", "BUY IT NOW less\nan ordinary line of text", "an ordinary line of text"),
        ("refinedweb_lines", "123 456\n3 likes\n12k views\ntwo words", "two words"),
        (
            "refinedweb_lines",
            "The story goes on here. Read more...\nSign-in\nnot alone",
            "The story goes on here.\nnot alone",
        ),
        (
            "strip_markdown",
            "# Head\n\nSome *soft* and **hard** `code` [link](u)\n- item",
            "Head\n\nSome soft and hard code link\nitem",
        ),
    ],
)
def test_a_rule_for_lines(name: str, text: str, left: str) -> None:
    assert rewritten(name, text) == left


@pytest.mark.row(17, "thresholds")
def test_lines_of_a_log_are_covered_by_n_grams_the_document_repeats() -> None:
    log = "\n".join(f"2024-03-01 12:0{n}:11 worker {n} failed to reach the server at port {n}" for n in range(6))
    text = f"Here is what happened on the first day of March, in plain words.\n{log}"
    assert rewritten("repeated_ngram_lines", text) == text.splitlines()[0]


@pytest.mark.parametrize(
    ("changes", "left"),
    [
        ({"terminal_punctuation": False}, "No end of it\nTwo words.\nA fact  is."),
        ({"terminal_punctuation": False, "citations": False}, "No end of it\nTwo words.\nA fact [12] is."),
        ({"min_words": 0, "max_word_length": 4}, "A fact  is."),
        ({"min_words": 2}, "Two words.\nA fact  is."),
    ],
)
def test_what_counts_as_a_line_is_set(changes: dict[str, object], left: str) -> None:
    assert rewritten("c4_lines", "No end of it\nTwo words.\nA fact [12] is.", **({"min_words": 2} | changes)) == left


SECRETS = {
    "emails": ["jane.doe@mail.example.org", "x_y+z@sub.site.co.uk", "info@müller.de".replace("ü", "ue"), "A1@b-c.io"],
    "ips": ["8.8.8.8", "93.184.216.34", "2606:2800:220:1:248:1893:25c8:1946", "2a00:1450:4001:81b::200e"],
    "phones": [
        "+49 30 1234567",
        "(415) 555-2671",
        "415-555-2671",
        "+1 (212) 555 0187",
        "030 / 123 45 67",
        "+44 20 7946 0958",
        "01 23 45 67 89",
    ],
    "keys": [
        "AKIAIOSFODNN7EXAMPLE",
        "ghp_16C7e42F292c6912E7710c838347Ae178B4a",
        "sk-proj-abc123def456ghi789jkl012",
        "api_key = 'a8f5f167f44f4964e6c998dee827110c'",
        "AIzaSyD-9tSrke72PouQMnMX-a7eZSW0jkFMBWY",
    ],
}


INNOCENT = [
    "version 1.2.3.4 came out on 2024-03-01 at 12:30:45 and cost $1,234,567",
    "the router at 192.168.0.1 and 10.0.0.1, not 127.0.0.1",
    "ISBN 978-3-16-148410-0, pages 120-134, in 1999-2003",
    "he said @home and meet me @ 5, a token of love, password is wrong",
    "std::vector<int> and 3.14159.2 or 300.1.2.3, ratio 16:9:4",
    "chapter 10.2.1.3 of the manual, 1000000 people, 12345678901234",
]


@pytest.mark.row(8, "private")
def test_planted_secrets_are_masked_and_others_stay(figure) -> None:
    masks = {"emails": "<E>", "ips": "<I>", "phones": "<P>", "keys": "<K>"}
    planted = [(kind, secret) for kind, listed in SECRETS.items() for secret in listed]
    frames = ("Write to {} today.", "see {}, or ask", "({})", "first: {}\nsecond", "{}")
    found = total = 0
    for kind, secret in planted:
        for frame in frames:
            left = rewritten("mask_pii", frame.format(secret), **masks)
            total += 1
            found += masks[kind] in left and secret.split("'")[-2 if "'" in secret else 0] not in left
    assert found == total
    for text in INNOCENT:
        assert rewritten("mask_pii", text, **masks) == text
    figure(f"{found} of {total} planted secrets masked, none of {len(INNOCENT)} texts without any changed")


def test_kinds_can_be_left_as_they_are() -> None:
    assert rewritten("mask_pii", "a@b.org 8.8.8.8", keep=("ips",)) == "email@example.com 8.8.8.8"


def test_what_is_masked_is_counted_by_kind_and_masked_once() -> None:
    texts = [f"see {secret} there" for listed in SECRETS.values() for secret in listed]
    mask = rewrites.make(rewrites.configure("mask_pii"))
    once = mask(pack_texts(texts))
    assert once.metrics == {kind: len(listed) for kind, listed in SECRETS.items()}
    assert mask(pack_texts(once.texts)).texts.to_pylist() == once.texts.to_pylist()
    assert once.edits is None


@given(
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="*_`[]()!#>-+~|\\0123456789.="), max_size=60)
)
def test_text_that_is_no_markdown_stays_as_it_is(text: str) -> None:
    lines = "\n".join(line for line in text.split("\n") if line.strip() == line)
    assert rewritten("strip_markdown", lines).split() == lines.split()
