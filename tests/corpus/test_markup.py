"""What a page's markup means: anchors, cells, readings, exponents, listings, questions and answers."""

from __future__ import annotations

import pytest

from herd.corpus.extract import ExtractSettings, extract, mark_xhtml
from herd.corpus.pages import Page, batch_pages
from herd.corpus.prepare import extract_texts
from herd.corpus.settings import CurateSettings

FIRST = "Bread rises for two hours in a warm corner of the kitchen, and it must not be moved."
LAST = "After that the oven is heated, and the loaves are baked until their crust is brown."


def text_of(page: str, **changes: object) -> str:
    return extract([page], ExtractSettings(**changes)).text[0].as_py()  # type: ignore[arg-type]


def between(content: str, **changes: object) -> str:
    """What is written for `content` between two paragraphs."""
    text = text_of(f"<html><body><main><p>{FIRST}</p>{content}<p>{LAST}</p></main></body></html>", **changes)
    assert text.startswith(FIRST)
    assert text.endswith(LAST)
    return text[len(FIRST) : -len(LAST)].strip("\n")


def story(name: str, sentences: int) -> str:
    return "".join(
        f"<p>{name} {n} speaks of flour and water, of salt, and of how long it takes.</p>" for n in range(sentences)
    )


# ---- anchors and elements that close themselves ----


@pytest.mark.parametrize(
    "body",
    [
        f"<p><a name=one>{FIRST}</a></p><p>{LAST}</p>",
        f"<p><a id=one>{FIRST}</a></p><p><a name='two'>{LAST}</a></p>",
        f"<a name=top><p>{FIRST}</p><p>{LAST}</p>",
        f"<ul><li><a name=a>{FIRST}</a></li><li><a name=b>{LAST}</a></li></ul>",
    ],
)
def test_an_anchor_that_leads_nowhere_is_no_link(body: str) -> None:
    assert text_of(f"<html><body>{body}</body></html>").split() == f"{FIRST} {LAST}".split()


def test_an_anchor_that_leads_somewhere_is_one() -> None:
    assert "oven" not in text_of(f"<html><body>{story('Dough', 3)}<p><a name=x href=/y>{LAST}</a></p></body></html>")


CHAPTER = (
    "<section><h1><a id='c'/>Of bread</h1><script src='x.js'/><p/><div class='rule'/>"
    f"<p><a id='p1'/>{FIRST}</p><p><span/>Then comes the second kneading, as everybody knows.</p><p><a id='p2'/>{LAST}</p></section>"  # noqa: E501
)


@pytest.mark.parametrize("opening", ['<html xmlns="http://www.w3.org/1999/xhtml">', "<?xml version='1.0'?><html>"])
def test_in_xhtml_elements_may_close_themselves(opening: str) -> None:
    text = text_of(f"{opening}<head><title/></head><body>{CHAPTER}</body></html>")
    assert text == f"Of bread\n\n{FIRST}\n\nThen comes the second kneading, as everybody knows.\n\n{LAST}"


def test_in_html_the_slash_means_nothing() -> None:
    page = f"<html><body>{story('Dough', 3)}<p><a href='/x'/>{LAST}</p></body></html>"
    assert "oven" not in text_of(page)
    xhtml = page.replace("<html>", "<html xmlns='http://www.w3.org/1999/xhtml'>")
    assert "oven" in text_of(xhtml)
    assert "oven" not in text_of(xhtml.replace("'/x'/", "/x/"))  # the slash belongs to the value


def test_a_name_says_that_a_page_is_xhtml() -> None:
    body = f"<html><body>{CHAPTER}</body></html>".encode()
    assert mark_xhtml(body, "page.html", "https://a.example/b.xhtml?c") != body
    page = Page("books/One.XHTML", "web", body)
    texts = extract_texts(next(batch_pages([page])), CurateSettings(rules={}))
    assert LAST in texts.texts[0].as_py()
    assert LAST not in text_of(body.decode())


# ---- cells ----


@pytest.mark.parametrize(
    ("cell", "written"),
    [
        ("<p>Stir.</p><p>Wait for 5</p><p>10 minutes.</p>", "Stir. Wait for 5 10 minutes."),
        ("<div>20</div><div>25</div>", "20 25"),
        ("<ul><li>7:00 - 9:00</li><li>13:00 - 15:00</li></ul>", "7:00 - 9:00 13:00 - 15:00"),
        ("<ol><li>knead<li>rest</ol>after", "knead rest after"),
        ("<dl><dt>rye</dt><dd>dark</dd><dt>oat</dt><dd>pale</dd></dl>", "rye dark oat pale"),
        ("old<br>new", "old new"),
        ("old<hr>new", "old new"),
        ("old<blockquote>new</blockquote>", "old new"),
        ("<h4>Rye</h4><p>is dark</p>", "Rye is dark"),
        ("<b>Rye</b><p>is dark</p>", "Rye is dark"),
    ],
)
def test_a_row_is_a_line_whatever_its_cells_hold(cell: str, written: str) -> None:
    table = f"<table><tr><th><p>Day</p></th><th>What</th></tr><tr><td>Monday</td><td>{cell}</td><td>x</td></tr></table>"
    assert between(table) == f"Day\tWhat\nMonday\t{written}\tx"
    marked = between(table, output_format="markdown").replace("**", "")
    assert marked == f"| Day | What |\n| --- | --- |\n| Monday | {written} | x |"


# ---- characters ----


@pytest.mark.parametrize(
    "kept",
    [
        "می\u200cروم و کتاب\u200cها",
        "ක්\u200dරම",
        "അവന്\u200d പോയി",
        "ക്\u200cഷ",
        "👩\u200d🚒 and 🏳\ufe0f\u200d🌈 and ❤\ufe0f\u200d🔥",
        "Auf\u200clage",
    ],
)
def test_joiners_of_letters_and_emoji_stay(kept: str) -> None:
    assert between(f"<p>{kept} is what stands here.</p>") == f"{kept} is what stands here."
    assert between(f"<p><b>{kept[:2]}</b>{kept[2:]} is what stands here.</p>") == f"{kept} is what stands here."
    entities = kept.replace("\u200c", "&zwnj;").replace("\u200d", "&zwj;")
    assert between(f"<p>{entities} is what stands here.</p>") == f"{kept} is what stands here."


def test_what_is_not_seen_between_words_goes() -> None:
    shown = "<p>A\u200bloaf \u200cof\u200d \ufeffbread,\u200c so\u00adft\u200f and\u200e warm.</p>"
    assert between(shown) == "Aloaf of bread, soft and warm."


@pytest.mark.parametrize(
    ("ruby", "written"),
    [
        ("<ruby>麦<rp>(</rp><rt>むぎ</rt><rp>)</rp></ruby>", "麦"),
        ("<ruby>麦<rt>むぎ<rp>(<rp>)</ruby>", "麦"),
        ("<ruby><rb>小<rb>麦<rt>こ<rt>むぎ</ruby>", "小麦"),
        ("<ruby>小麦<rt>こむぎ</rt><rtc><rt>wheat</rt></rtc></ruby>", "小麦"),
    ],
)
def test_readings_above_words_are_left_out(ruby: str, written: str) -> None:
    assert between(f"<p>{ruby}の粉で、とても古いパンを焼きます。</p>") == f"{written}の粉で、とても古いパンを焼きます。"
    titled = extract([f"<body><h1>{ruby}の本</h1><p>{FIRST}</p></body>"], ExtractSettings())
    assert titled.title[0].as_py() == f"{written}の本"


@pytest.mark.parametrize(
    ("markup", "written"),
    [
        ("10<sup>6</sup>", "10^6"),
        ("10<sup>&minus;3</sup>", "10^\u22123"),
        ("10<sup> 6 </sup>loaves", "10^6 loaves"),
        ("<b>10</b><sup><i>100</i></sup>", "10^100"),
        ("x<sup>2</sup>", "x^2"),
        ("2<sup>n+1</sup>", "2^(n+1)"),
        ("2<sup>2<sup>n</sup></sup>", "2^(2^n)"),
        ("(a+b)<sup>2</sup>", "(a+b)^2"),
        ("kg m<sup>-3</sup>", "kg m^-3"),
        ("Ca<sup>2+</sup>", "Ca^2+"),
        ("the 21<sup>st</sup>", "the 21st"),
        ("le 2<sup>e</sup>", "le 2e"),
        ("M<sup>me</sup>", "Mme"),
        ("Crumb<sup>TM</sup>", "CrumbTM"),
        ("bakers<sup>3</sup>", "bakers[3]"),
        ("rye.<sup>3</sup>", "rye.[3]"),
        ("in 1998<sup><a href='#n'>3</a></sup>", "in 1998[3]"),
        ("bread<a href='#n'><sup>12</sup></a>", "bread[12]"),
        ("bread<sup class=reference><a href='#n'>[4]</a></sup>", "bread[4]"),
        ("$3<sup>99</sup>", "$3.99"),
        ("H<sub>2</sub>O", "H2O"),
        ("SO<sub>4</sub><sup>2-</sup>", "SO4^2-"),
        ("x<sub>i</sub>", "x_i"),
        ("x<sub>1</sub><sup>2</sup>", "x_1^2"),
        ("1011<sub>2</sub>", "1011_2"),
        ("<math><msup><mn>10</mn><mn>6</mn></msup></math>", "10^6"),
        ("<math><mfrac><mrow><mi>a</mi><mo>+</mo><mi>b</mi></mrow><mn>2</mn></mfrac></math>", "(a+b)/2"),
    ],
)
def test_raised_and_lowered_text_keeps_its_meaning(markup: str, written: str) -> None:
    assert between(f"<p>So {markup} it is, and no other.</p>") == f"So {written} it is, and no other."


# ---- program text without <pre> ----

LINES = ["while dough:", "    if risen(dough):", "        bake(dough)", "", "    wait(60)"]


def rows(line: str) -> str:
    return "".join(line.format(n=n, line=text) for n, text in enumerate(LINES, 1))


@pytest.mark.parametrize(
    "listing",
    [
        f"<table class='highlight'>{rows('<tr><td class=blob-num data-line-number={n}></td><td class=blob-code>{line}</td></tr>')}</table>",  # noqa: E501
        f"<table class=x>{rows('<tr> <td class=blob-num>{n}</td> <td class=blob-code><span class=comment>{line}</span></td> </tr>')}</table>",  # noqa: E501
        f"<table>{rows('<tr><td class=lineno>{n}</td><td>{line}</td></tr>')}</table>",
        f"<table>{rows('<tr><td>{n}</td><td><code>{line}</code></td></tr>')}</table>",
        f"<table class=code><thead><tr><th>Line<th>Text</thead>{rows('<tr><th id=L{n}><a href=#L{n}>{n}</a><td>{line}</td></tr>')}</table>",  # noqa: E501
        f"<pre><code><table>{rows('<tr><td class=hljs-ln-numbers>{n}</td><td class=hljs-ln-code>{line}</td></tr>')}</table></code></pre>",  # noqa: E501
        f"<table class=crayon-table><tr><td class=crayon-nums>{rows('<div class=crayon-num>{n}</div>')}</td><td class=crayon-code>"  # noqa: E501
        f"<div class=crayon-pre>{rows('<div class=crayon-line>{line}&nbsp;</div>')}</div></td></tr></table>",
        f"<div class=fragment>{rows('<div class=line><span class=lineno> {n}</span>&#160;{line}</div>')}</div>",
        f"<table>{rows('<tr><th>{n}</th><td><pre>{line}</pre></td></tr>')}</table>",
        f"<table><tr><td><pre>{rows('{n} ')}</pre></td><td><pre>{rows('{line}<br>')}</pre></td></tr></table>",
    ],
)
def test_a_listing_in_a_table_or_in_boxes_is_program_text(listing: str) -> None:
    code = "\n".join(LINES)
    assert between(listing) == code
    found = extract([f"<body><p>{FIRST}</p>{listing}</body>"], ExtractSettings())
    assert found.code[0] == sum(not c.isspace() for c in code)
    assert between(listing, output_format="markdown") == f"```\n{code}\n```"


def test_programs_in_the_rows_of_a_table_are_not_joined() -> None:
    bare = "<tr><td><pre>bake(1)</pre></td></tr><tr><td><pre>wait(2)</pre></td></tr>"
    long = "<tr><td>1<td><pre>a = 1\nb = 2</pre></tr><tr><td>2<td><pre>c = 3\nd = 4</pre></tr>"
    assert "bake(1)\n\nwait(2)" in between(f"<table>{bare}</table>")
    assert "b = 2\nc" not in between(f"<table>{long}</table>")


def test_numbered_rows_of_data_are_no_listing() -> None:
    table = "<table class=highlight><tr><td>1</td><td>Rye bread</td></tr><tr><td>2</td><td>Oat cake</td></tr></table>"
    assert between(table) == "1\tRye bread\n2\tOat cake"


# ---- a question and its answers ----


def votes(kind: str, body: str) -> str:
    comment = "<div class=comments><p>Somebody remarks that yeast is cheaper elsewhere, as if asked.</p></div>"
    return f"<div class={kind}><div class=votecell>7</div><div class='text post-body' itemprop=text>{body}</div>{comment}</div>"  # noqa: E501


@pytest.mark.parametrize("sizes", [(1, 5), (5, 1), (1, 20), (20, 1), (2, 8, 1, 1), (30, 2, 2)])
@pytest.mark.parametrize(
    "layout",
    [
        lambda posts: votes("question", posts[0]) + "<div id=answers>" + "".join(votes("answer", p) for p in posts[1:]) + "</div>",  # noqa: E501
        lambda posts: f"<article class=question>{posts[0]}</article>" + "".join(f"<article class=answer>{p}</article>" for p in posts[1:]),  # noqa: E501
        lambda posts: f"<div class=qa-q-view>{posts[0]}</div><div class=qa-a-list>" + "".join(f"<div>{p}</div>" for p in posts[1:]) + "</div>",  # noqa: E501
        lambda posts: f"<div class=post-content>{posts[0]}</div>" + "".join(f"<div class=answer>{p}</div>" for p in posts[1:]),  # noqa: E501
        lambda posts: "".join(f"<div class='post bg{n}'><div class=postbody>{p}</div></div>" for n, p in enumerate(posts)),  # noqa: E501
        lambda posts: "<div itemscope itemtype='https://schema.org/DiscussionForumPosting'><div class=top>" + posts[0] + "</div>"  # noqa: E501
        + "".join(f"<div class=low itemprop=comment>{p}</div>" for p in posts[1:]) + "</div>",
        lambda posts: f"<div class=question>{posts[0]}</div><section class=comments>"
        + "".join(f"<div class='comment answer'>{p}</div>" for p in posts[1:]) + "</section>",
    ],
    ids=["votes", "articles", "lists", "unnamed question", "thread", "typed thread", "answers as comments"],
)  # fmt: skip
def test_a_question_and_all_its_answers_are_the_text(layout, sizes: tuple[int, ...]) -> None:
    posts = [story(f"Post{number}", size) for number, size in enumerate(sizes)]
    page = f"<html><body><nav><a href=/>Home</a></nav><div id=wrap>{layout(posts)}</div><footer><p>{LAST}</p></footer></body></html>"  # noqa: E501
    text = text_of(page)
    for number, size in enumerate(sizes):
        assert [n for n in range(size) if f"Post{number} {n} speaks" not in text] == []
    assert LAST not in text
    assert sizes == (1, 1) or "cheaper elsewhere" not in text


# ---- pictures ----


def test_captions_are_the_text_of_a_gallery_and_no_text_elsewhere() -> None:
    shots = "".join(
        f"<figure><img src={n}.jpg><figcaption>Shot {n} shows the loaf, and how its crust has opened.</figcaption></figure>"  # noqa: E501
        for n in range(9)
    )
    assert text_of(f"<body><article><h1>Loaves</h1><p>{FIRST}</p>{shots}</article></body>").count("how its crust") == 9
    assert "how its crust" not in text_of(
        f"<body><article>{story('Dough', 12)}{shots[: len(shots) // 9]}</article></body>"
    )
    named = "<figure><img src=a.jpg><span class=description>A. Baker/Agency</span></figure>"
    assert "Agency" not in text_of(f"<body><article>{story('Dough', 3)}{named}{story('Oven', 3)}</article></body>")
