"""Rows in the columns that others use, and what is found in them before training."""

from __future__ import annotations

import gzip
import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from herd.align.columns import RowError, load_rows, parse_row, read_rows
from herd.align.preflight import inspect_rows
from herd.align.reward import _margins
from herd.core import rowfiles
from herd.core.errors import DataError
from herd.core.records import Conversation, Message, Preference, ToolCall
from herd.core.storage import write_conversations, write_preferences
from herd.train.preferences import encode_preferences
from tests.tokens.test_chat import FORM, TOKENIZER
from tests.train.test_preferences import preference

ASKED, SAID = Message("user", "hello"), Message("assistant", "there")
MORE = (ASKED, SAID, Message("user", "and?"))
DATA = Path(__file__).parents[3] / "shared" / "data"


def turns(*messages: Message) -> list[dict]:
    return [{"role": one.role, "content": one.content} for one in messages]


@pytest.mark.parametrize(
    "row",
    [
        {"messages": turns(ASKED, SAID)},
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "hello"}]}, *turns(SAID)]},
        {"conversations": [{"from": "human", "value": "hello"}, {"from": "gpt", "value": "there"}]},
        {"prompt": "hello", "completion": "there"},
        {"prompt": "hello", "completions": ["there"], "labels": [True]},
        {"prompt": turns(ASKED), "completion": turns(SAID)},
        {"prompt": "hello", "response": "there"},
        {"question": "hello", "answer": "there"},
        {"instruction": "hello", "input": "", "output": "there"},
        {"instruction": "hello", "response": "there"},
    ],
)
def test_conversations_in_many_columns_are_one(row: dict) -> None:
    read = parse_row(row, "n")
    assert isinstance(read, Conversation)
    assert read.messages == (ASKED, SAID)
    assert read.id == "n"


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": turns(*MORE), "chosen": "good", "rejected": "bad"},
        {
            "prompt": turns(*MORE),
            "chosen": turns(Message("assistant", "good")),
            "rejected": {"role": "assistant", "content": "bad"},
        },
        {
            "chosen": [*turns(*MORE), *turns(Message("assistant", "good"))],
            "rejected": [*turns(*MORE), *turns(Message("assistant", "bad"))],
        },
        {
            "chosen": "\n\nHuman: hello\n\nAssistant: there\n\nHuman: and?\n\nAssistant: good",
            "rejected": "\n\nHuman: hello\n\nAssistant: there\n\nHuman: and?\n\nAssistant: bad",
        },
        {
            "prompt": "\n\nHuman: hello\n\nAssistant: there\n\nHuman: and?\n\nAssistant:",
            "chosen": "\n\nHuman: hello\n\nAssistant: there\n\nHuman: and?\n\nAssistant: good",
            "rejected": "\n\nHuman: hello\n\nAssistant: there\n\nHuman: and?\n\nAssistant: bad",
        },
        {
            "prompt": "\n\nHuman: hello\n\nAssistant: there\n\nHuman: and?\n\nAssistant:",
            "chosen": "good",
            "rejected": "bad",
        },
        {"prompt": turns(*MORE), "ranked": ["good", "bad"]},
    ],
)
def test_preferences_in_many_columns_are_one(row: dict) -> None:
    read = parse_row(row)
    assert isinstance(read, Preference)
    assert read.prompt.messages == MORE
    assert [answer[0].content for answer in read.ranked_answers] == ["good", "bad"]


def test_three_ranked_answers_are_edited_chosen_and_rejected() -> None:
    read = parse_row({"prompt": "hello", "ranked": ["best", "good", "so", "bad"]})
    assert isinstance(read, Preference)
    assert [answer[0].content for answer in read.ranked_answers] == ["best", "good", "bad"]


def test_calls_of_tools_are_read() -> None:
    call = {"from": "function_call", "value": '{"name": "add", "arguments": {"a": 1}}'}
    said = {"from": "observation", "value": "2"}
    read = parse_row(
        {"conversations": [{"from": "human", "value": "1+1"}, call, said, {"from": "gpt", "value": "two"}]}
    )
    assert isinstance(read, Conversation)
    assert [one.role for one in read.messages] == ["user", "assistant", "tool", "assistant"]
    assert read.messages[1].tool_calls[0].name == "add"


ADD = {"name": "add", "parameters": {"type": "object", "properties": {"a": {"type": "number"}}}}


@pytest.mark.parametrize(
    "tools",
    [[ADD], json.dumps([ADD]), [{"type": "function", "function": ADD}]],
    ids=["functions", "as JSON", "OpenAI's"],
)
@pytest.mark.parametrize("arguments", [{"a": 1}, '{"a": 1}'], ids=["an object", "OpenAI's text"])
def test_openais_tools_and_calls_are_read_and_kept(tools, arguments) -> None:
    called = [
        {"role": "assistant", "content": None, "tool_calls": [{"function": {"name": "add", "arguments": arguments}}]}
    ]
    read = parse_row({"messages": [*turns(ASKED), *called], "tools": tools})
    assert isinstance(read, Conversation)
    assert read.messages[1].tool_calls == (ToolCall("add", {"a": 1}),)
    assert (read.tools, read.definitions) == ((), ({"type": "function", "function": ADD},))
    assert Conversation.from_row(json.loads(json.dumps(read.to_row()))) == read
    assert '"name": "add"' in TOKENIZER.show(FORM.encode(read).ids)
    pair = {"prompt": turns(ASKED), "chosen": called, "rejected": turns(SAID), "tools": ["brave_search", ADD]}
    ranked = parse_row(pair)
    assert isinstance(ranked, Preference)
    assert ranked.prompt.tools == ("brave_search",)
    assert Preference.from_row(json.loads(json.dumps(ranked.to_row()))) == ranked
    assert len({ranked.chosen, ranked.rejected, ranked.chosen}) == 2


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"messages": turns(ASKED, SAID), "tools": [3]}, "broken"),
        ({"messages": turns(ASKED, SAID), "tools": "[oh"}, "broken"),
        ({"messages": [{"role": "assistant", "tool_calls": [{"name": "f", "arguments": "{"}]}]}, "broken"),
        ({"messages": [{"role": "assistant", "tool_calls": [{"name": "f", "arguments": [1]}]}]}, "broken"),
        ({"messages": turns(ASKED)}, "no answer"),
        ({"messages": turns(SAID, ASKED, SAID)}, "ragged turns"),
        ({"messages": turns(ASKED, ASKED, SAID)}, "ragged turns"),
        ({"messages": [{"role": "wizard", "content": "x"}]}, "broken"),
        ({"messages": [{"role": "user", "content": [{"type": "image"}]}]}, "not text"),
        ({"prompt": "hello", "completion": " "}, "empty answer"),
        ({"prompt": "hello", "chosen": "a", "rejected": ""}, "empty answer"),
        ({"prompt": "hello", "chosen": "a", "rejected": "a"}, "equal answers"),
        ({"prompt": "hello", "ranked": ["a"]}, "one answer"),
        ({"messages": turns(ASKED, SAID), "label": True}, "a label and no pair"),
        ({"prompt": "hello", "completions": ["a", "b"], "labels": [True, False]}, "a wrong step"),
        ({"prompt": "hello", "completions": ["a", "b"], "labels": [True]}, "broken"),
        ({"question": "hello"}, "unknown columns"),
        (["hello"], "no object"),
    ],
)
def test_rows_that_cannot_be_used_say_why(row: object, reason: str) -> None:
    with pytest.raises(RowError) as told:
        parse_row(row)  # type: ignore[arg-type]
    assert told.value.reason == reason


@given(
    st.recursive(
        st.none() | st.booleans() | st.text() | st.integers(),
        lambda inner: (
            st.lists(inner)
            | st.dictionaries(
                st.sampled_from(
                    [
                        "messages",
                        "prompt",
                        "chosen",
                        "rejected",
                        "role",
                        "content",
                        "from",
                        "value",
                        "ranked",
                        "completion",
                    ]
                ),
                inner,
            )
        ),
        max_leaves=12,
    )
)
def test_no_row_breaks_the_reader(row: object) -> None:
    try:
        read = parse_row(row)  # type: ignore[arg-type]
    except RowError:  # any other fault would be ours
        return
    assert isinstance(read, Conversation | Preference)


def test_every_row_is_kept_or_counted(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl.gz"
    rows = [
        {"prompt": "a", "completion": "b"},
        {"prompt": "a", "completion": ""},
        {"x": 1},
        {"prompt": "a", "chosen": "b", "rejected": "c"},
    ]
    with gzip.open(file, "wt", encoding="utf-8") as out:
        out.writelines(json.dumps(row) + "\n" for row in rows)
    found = read_rows(file)
    assert (len(found.conversations), len(found.preferences)) == (1, 1)
    assert found.rejected == {"empty answer": 1, "unknown columns": 1}
    assert found.examples["empty answer"][0] == 2
    bad = tmp_path / "bad.jsonl"
    bad.write_text('{"x": 1}\n')
    with pytest.raises(DataError, match="no row can be used; row 1: columns x make no dialogue and no pair"):
        read_rows(bad)
    bad.write_text('{"x": 1\n')
    with pytest.raises(DataError, match="no row can be used; row 1: line 1 is not JSON"):
        read_rows(bad)


def test_our_own_preferences_are_read_back(tmp_path: Path) -> None:
    write_preferences(tmp_path, [preference(0, edited=True), preference(1)])
    found = load_rows(tmp_path).preferences
    assert [one.ranked_answers for one in found] == [
        preference(0, edited=True).ranked_answers,
        preference(1).ranked_answers,
    ]


@pytest.mark.skipif(not DATA.exists(), reason="needs ../shared/data")
def test_published_sets_are_read() -> None:
    hh = read_rows(DATA / "pref_hh_rlhf" / "harmless_base_test_a.jsonl.gz")
    assert (len(hh.preferences), dict(hh.rejected)) == (1540, {"empty answer": 2})
    alpaca = read_rows(DATA / "sft_code_alpaca" / "code_alpaca_2k.jsonl.gz")
    assert (len(alpaca.conversations), dict(alpaca.rejected)) == (2015, {"empty answer": 2})
    calls = read_rows(DATA / "sft_llamafactory" / "glaive_toolcall_en_demo.jsonl.gz")
    assert any(message.tool_calls for one in calls.conversations for message in one.messages)
    assert sum(bool(one.definitions) for one in calls.conversations) == 120
    assert not inspect_rows(calls, FORM, TOKENIZER, 8192).faults


SYSTEM = Message("system", "be brief")


@pytest.mark.parametrize("column", ["system", "system_prompt"])
@pytest.mark.parametrize(
    "row",
    [
        {"messages": turns(ASKED, SAID)},
        {"conversations": [{"from": "human", "value": "hello"}, {"from": "gpt", "value": "there"}]},
        {"prompt": "hello", "completion": "there"},
        {"prompt": "hello", "response": "there"},
        {"instruction": "hello", "output": "there"},
        {"question": "hello", "answer": "there"},
        {"prompt": "hello", "chosen": "there", "rejected": "no"},
        {"prompt": "hello", "ranked": ["there", "no"]},
        {"chosen": turns(ASKED, SAID), "rejected": turns(ASKED, Message("assistant", "no"))},
        {"conversations": turns(ASKED), "chosen": turns(SAID)[0], "rejected": {"from": "gpt", "value": "no"}},
        {"messages": turns(SYSTEM, ASKED, SAID)},
    ],
)
def test_a_system_prompt_in_a_column_opens_the_conversation(row: dict, column: str) -> None:
    read = parse_row(row | {column: "be brief"})
    asked = read.prompt if isinstance(read, Preference) else read
    assert asked.messages[:2] == (SYSTEM, ASKED)
    assert parse_row(row | {column: ""}) == parse_row(row)


def test_two_system_prompts_are_told() -> None:
    row = {"messages": turns(SYSTEM, ASKED, SAID), "system": "be long"}
    with pytest.raises(RowError, match="one stands in a column and another opens"):
        parse_row(row)
    with pytest.raises(RowError, match="is no text"):
        parse_row({"prompt": "hello", "response": "there", "system": ["be brief"]})


@pytest.mark.parametrize("asked", [(ASKED,), MORE, (SYSTEM, *MORE)])
@pytest.mark.parametrize("column", ["prompt", "conversations"])
def test_a_prompt_said_again_in_both_answers_stands_once(asked: tuple[Message, ...], column: str) -> None:
    good, bad = Message("assistant", "good"), Message("assistant", "bad")
    answers = {"chosen": turns(*asked, good), "rejected": turns(*asked, bad)}
    said = asked[-1].content if column == "prompt" and asked == (ASKED,) else turns(*asked)
    read = parse_row({column: said} | answers)
    assert isinstance(read, Preference)
    assert (read.prompt.messages, read.chosen, read.rejected) == (asked, (good,), (bad,))
    with pytest.raises(RowError) as told:
        parse_row({column: turns(Message("user", "another"))} | answers)
    assert told.value.reason == "another prompt"


def test_a_prompt_may_be_the_last_of_several_turns_that_the_answers_begin_with() -> None:
    answers = {name: turns(*MORE, Message("assistant", name)) for name in ("chosen", "rejected")}
    read = parse_row({"prompt": MORE[-1].content} | answers)
    assert isinstance(read, Preference)
    assert (read.prompt.messages, read.chosen) == (MORE, (Message("assistant", "chosen"),))


def test_a_prompt_in_the_answers_may_bring_the_system_prompt() -> None:
    answers = {name: turns(SYSTEM, ASKED, Message("assistant", name)) for name in ("chosen", "rejected")}
    read = parse_row({"prompt": "hello"} | answers)
    assert isinstance(read, Preference)
    assert read.prompt.messages == (SYSTEM, ASKED)


@pytest.mark.parametrize("row", [{"instruction": "hello", "input": ""}, {"question": "hello"}])
def test_pairs_below_an_instruction_or_a_question(row: dict) -> None:
    read = parse_row(row | {"system": "be brief", "chosen": "there", "rejected": "no"})
    assert isinstance(read, Preference)
    assert read.prompt.messages == (SYSTEM, ASKED)
    assert (read.chosen, read.rejected) == ((SAID,), (Message("assistant", "no"),))


@pytest.mark.parametrize("mark", [{"weight": 0}, {"train": False}, {"training": False}])
def test_turns_marked_as_not_to_be_learnt_are_not(mark: dict) -> None:
    first, *rest = turns(*MORE[1:], SAID)
    read = parse_row({"messages": [*turns(ASKED), first | mark, *rest]})
    assert isinstance(read, Conversation)
    assert [one.train for one in read.messages] == [True, False, True, True]
    with pytest.raises(RowError, match="every turn of the assistant is marked"):
        parse_row({"messages": [*turns(ASKED), first | mark]})
    with pytest.raises(RowError, match="write 0 or 1"):
        parse_row({"messages": [*turns(ASKED), first | {"weight": 0.3}]})


@pytest.mark.parametrize("column", ["reasoning_content", "reasoning", "thinking"])
def test_what_was_thought_is_kept_apart_and_survives_the_disk(column: str, tmp_path: Path) -> None:
    read = parse_row({"messages": [*turns(ASKED), turns(SAID)[0] | {column: "a greeting"}]})
    assert isinstance(read, Conversation)
    assert read.last == replace(SAID, reasoning_content="a greeting")
    write_conversations(tmp_path, [read])
    assert load_rows(tmp_path).conversations[0].last == read.last


ROW = {"prompt": "hello", "response": "there"}
LINES = [json.dumps(ROW)] * 5


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("mark.jsonl", "\ufeff" + "\n".join(LINES)),
        ("blank_end.jsonl", "\n".join(LINES) + "\n\n \n"),
        ("blank_between.ndjson", "\r\n\r\n".join(LINES)),
        ("lines.json", "\n".join(LINES)),
        ("list.JSON", json.dumps([ROW] * 5, indent=1)),
        ("mark.json", "\ufeff" + json.dumps([ROW] * 5)),
    ],
)
@pytest.mark.parametrize("packed", ["", ".gz", ".bz2", ".xz", ".zst", ".GZ"])
def test_files_are_read_as_others_write_them(name: str, content: str, packed: str, tmp_path: Path) -> None:
    import bz2
    import lzma

    import pyarrow

    packers = {
        "": lambda data: data,
        ".gz": gzip.compress,
        ".bz2": bz2.compress,
        ".xz": lzma.compress,
        ".zst": lambda data: pyarrow.compress(data, "zstd", asbytes=True),
    }
    file = tmp_path / (name + packed)
    file.write_bytes(packers[packed.lower()](content.encode()))
    read = read_rows(file)
    assert len(read.conversations) == 5
    assert not read.rejected


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ("{", "not JSON"),
        ("[" * 200_000, "too deep"),
        ('{"prompt": ' * 150 + "1" + "}" * 150, "too deep"),
        ("9" * 10_000, "not JSON"),
        ('{"prompt": "' + "x" * 5_000 + '"}', "too long"),
        ("5", "no object"),
        ('{"prompt": 5, "response": "x"}', "broken"),
        ('{"messages": "hello"}', "broken"),
        ('{"messages": [5]}', "broken"),
        ('{"messages": [{"role": "user", "content": 7}, {"role": "assistant", "content": "x"}]}', "broken"),
        ('{"messages": {"role": "user"}}', "broken"),
        ('{"conversations": [{"from": {}, "value": "x"}]}', "broken"),
        ('{"prompt": "a", "chosen": "b", "rejected": "c", "margin": NaN}', "broken"),
        ('{"prompt": "a", "chosen": "b", "rejected": "c", "margin": 1' + "0" * 400 + "}", "broken"),
        ('{"prompt": "a", "chosen": "b", "rejected": "c", "strength": "enormous"}', "broken"),
        ('{"prompt": "a", "response": "b", "tools": 7}', "broken"),
        ('{"instruction": {}, "output": "b"}', "broken"),
        ('{"prompt": "a", "response": "b", "train": false}', "weight 0"),
    ],
)
def test_one_bad_row_is_counted_with_its_line_and_the_others_are_read(
    bad: str, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rowfiles, "MAX_ROW_BYTES", 1_000 if reason == "too long" else 1 << 20)
    file = tmp_path / "rows.jsonl"
    file.write_text("\n".join([LINES[0], "", bad, LINES[1]]))
    read = read_rows(file)
    assert (len(read.conversations), dict(read.rejected)) == (2, {reason: 1})
    assert read.examples[reason][0] == 3


def test_bytes_that_are_no_text_and_halves_of_characters(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    half = '{"prompt": "a \\ud800", "response": "b \\ud83d\\ude00", "source": "\\udfff"}'
    file.write_bytes(b'{"prompt": "\xff", "response": "x"}\n' + half.encode())
    read = read_rows(file)
    assert dict(read.rejected) == {"not UTF-8": 1}
    assert [one.content for one in read.conversations[0].messages] == ["a \ufffd", "b \U0001f600"]
    assert read.conversations[0].source == "\ufffd"
    write_conversations(tmp_path, read.conversations)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("cut.jsonl.gz", gzip.compress("\n".join(LINES).encode(), mtime=0)[:-12], "breaks off"),
        ("no.jsonl.gz", b"not packed", "broken after line 0"),
        ("torn.jsonl.zst", b"not packed", "broken after line 0"),
        ("utf16.jsonl", "\n".join(LINES).encode("utf-16"), "UTF-16; save it as UTF-8"),
        ("one.json", b"{", "not JSON"),
        ("no.parquet", b"PAR1", "no Parquet file"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(name: str, content: bytes, words: str, tmp_path: Path) -> None:
    file = tmp_path / name
    file.write_bytes(content)
    with pytest.raises(DataError, match=words) as told:
        read_rows(file)
    assert str(file) in str(told.value)


def test_a_margin_is_read_written_and_counts(tmp_path: Path) -> None:
    read = parse_row({"prompt": "hello", "chosen": "good", "rejected": "bad", "margin": 2})
    assert isinstance(read, Preference)
    assert read.margin == 2.0
    write_preferences(tmp_path, [read])
    (again,) = load_rows(tmp_path).preferences
    assert again.margin == 2.0
    ranked = encode_preferences(
        [read, replace(read, margin=None), replace(read, margin=0.0)], FORM, context=99
    ).preferences
    given = [read, replace(read, margin=None), replace(read, margin=0.0)]
    assert _margins(given, ranked, None) == {0: 2.0}
    assert _margins(given, ranked, {"better": 0.5}) == {0: 2.0, 1: 0.5}


def test_labelled_answers_are_paired_by_their_prompt_and_the_others_counted(tmp_path: Path) -> None:
    """TRL's unpaired preferences: as many pairs of a prompt as it has answers of both labels."""
    labelled = [("a", "good", True), ("a", "bad", False), ("a", "worse", False), ("b", "alone", True), ("c", "x", 2)]
    rows = [{"prompt": prompt, "completion": answer, "label": label} for prompt, answer, label in labelled]
    file = tmp_path / "kto.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    read = read_rows(file, "preferences")
    (pair,) = read.preferences
    assert [turns_[-1].content for turns_ in (pair.prompt.messages, pair.chosen, pair.rejected)] == ["a", "good", "bad"]
    assert read.rejected == {"a label and no pair": 2, "broken": 1}
    assert not read.conversations
    alone = tmp_path / "alone.jsonl"
    alone.write_text(json.dumps(rows[3]) + "\n")
    with pytest.raises(DataError, match=r"row 1: an answer that is only wanted or not \(KTO's.*give answers of both"):
        read_rows(alone, "preferences")
