"""The bytes of pages as UTF-8, whatever their encoding."""

from __future__ import annotations

import codecs
import ctypes
import re

from herd.corpus.kernels import corpus_kernels

# What people call encodings and Python does not know, or knows as something browsers read differently
# (https://encoding.spec.whatwg.org/#names-and-labels).
_LABELS = {"iso-8859-1": "cp1252", "latin1": "cp1252", "latin-1": "cp1252", "ascii": "cp1252", "us-ascii": "cp1252",
           "iso-8859-9": "cp1254", "iso-8859-11": "cp874", "tis-620": "cp874", "gb2312": "gb18030", "gbk": "gb18030",
           "x-gbk": "gb18030", "ks_c_5601-1987": "cp949", "euc-kr": "cp949", "shift_jis": "cp932", "x-sjis": "cp932",
           "shift-jis": "cp932", "sjis": "cp932", "utf8": "utf-8", "unicode": "utf-8", "x-euc-jp": "euc_jp",
           "big5": "big5hkscs", "csiso2022jp": "iso2022_jp_ext", "iso-2022-jp": "iso2022_jp_ext",
           "iso-2022-jp-1": "iso2022_jp_ext", "iso-2022-jp-2": "iso2022_jp_2", "iso-2022-jp-3": "iso2022_jp_3",
           "iso-2022-jp-2004": "iso2022_jp_2004", "iso-2022-kr": "iso2022_kr", "csiso2022kr": "iso2022_kr",
           "hz-gb-2312": "hz", "hzgb2312": "hz"}  # fmt: skip
# Seven-bit encodings that switch between sets of characters, with what a page in one of them must hold. Their bytes
# are UTF-8 as well, of letters that mean nothing.
_STATEFUL = {"iso2022_jp": rb"\x1b[$(]", "iso2022_kr": rb"\x1b\$\)C", "hz": rb"~\{[!-~]"}
# A page that says nothing of its encoding but switches to Kanji and back.
_SWITCHES = re.compile(rb"\x1b\$[@B](?:[!-~]{2})+\x1b\([BJ]")
_MARKS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF32_LE, "utf-32"), (codecs.BOM_UTF32_BE, "utf-32"),
          (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))  # fmt: skip
_SEQUENCES = re.compile(
    rb"(?:[\xc2-\xdf][\x80-\xbf]|\xe0[\xa0-\xbf][\x80-\xbf]|[\xe1-\xef][\x80-\xbf]{2}|\xf0[\x90-\xbf][\x80-\xbf]{2}"
    rb"|[\xf1-\xf3][\x80-\xbf]{3}|\xf4[\x80-\x8f][\x80-\xbf]{2})+"
)
_ASCII = bytes(range(128))
_NO_LEADS = bytes(range(0xC2)) + bytes(range(0xF5, 0x100))
_CONTROLS = bytes(range(9))
# Of a page that is said to be UTF-8, this many stray bytes are a slip, however little else in it is not ASCII.
_STRAY_BYTES = 3
_HEAD = 4096


def decode(body: bytes, charset: str = "") -> bytes | None:
    """The page as UTF-8, or None when no guess about its encoding fits.

    Tried in turn: a byte order mark, an encoding that switches sets of characters, UTF-8, what the server said, what
    the page says of itself, and what its bytes look like. Bytes that are text in an encoding but for a few are
    text in it; the few become U+FFFD. charset: what the server said.
    """
    if not body:
        return body
    bom_encoding = next((name for mark, name in _MARKS if body.startswith(mark)), "")
    if bom_encoding and bom_encoding != "utf-8":
        return _decode_as(body, bom_encoding)
    fault = corpus_kernels().herd_utf8_fault(body, ctypes.c_int64(len(body)))
    if fault < 0 and not _may_be_stateful(body, charset) and _is_text(body):
        return body  # nearly every page: what it says of itself need not be looked for
    labels = [_name(charset), _name(_declared_encoding(body))]
    if (switching := _stateful_encoding(body, labels)) and (text := _decode_as(body, switching)) is not None:
        return text
    if any(name.startswith("utf-16") for name in labels) and (text := _decode_utf16(body, 2)) is not None:
        return text
    if fault < 0:
        return body if _is_text(body) else _decode_utf16(body)
    if _is_cut_short(body[fault:]) or _is_mostly_utf8(
        body, bool(bom_encoding) or "utf-8" in labels, any(name not in ("", "utf-8") for name in labels)
    ):
        return _encode_if_text(body.decode("utf-8", "replace"))
    for name in dict.fromkeys([*labels, _name(_guess_encoding(body))]):
        if name not in ("", "utf-8") and not name.startswith(("utf-16", "utf-32")):
            text = _decode_as(body, name)
            if text is not None:
                return text
    if "utf-8" in labels or len(body.translate(None, _ASCII)) <= _STRAY_BYTES:
        return _encode_if_text(body.decode("utf-8", "replace"))
    return _decode_utf16(body)


def _name(label: str) -> str:
    label = label.strip().lower()
    return _LABELS.get(label, "utf-8" if label == "utf-8-sig" else label)


def _may_be_stateful(body: bytes, charset: str) -> bool:
    """Whether bytes that are UTF-8 may be meant otherwise: as sets that are switched, which is ASCII, or as UTF-16."""
    head = body[:_HEAD]
    if b"\0" in head:
        return True
    return body.isascii() and (b"\x1b" in body or "hz" in charset.lower() or b"hz" in head.lower())


def _stateful_encoding(body: bytes, labels: list[str]) -> str:
    for kind, pattern in _STATEFUL.items():
        name = next((name for name in labels if name.replace("-", "_").startswith(kind)), "")
        if name and re.search(pattern, body):
            return name
    return "iso2022_jp_ext" if b"\x1b$" in body and _SWITCHES.search(body) else ""


def _is_cut_short(tail: bytes) -> bool:
    """Whether these last bytes are the beginning of one character in UTF-8."""
    return len(tail) < 4 and 0xC2 <= tail[0] < 0xF5 and all(0x80 <= byte < 0xC0 for byte in tail[1:])


def _is_mostly_utf8(body: bytes, says_utf8: bool, says_other: bool) -> bool:
    """Whether what is wrong is the exception. says_utf8: that it is UTF-8; says_other: that it is something else."""
    remainder = _SEQUENCES.sub(b"", body)
    bad = len(remainder.translate(None, _ASCII))
    good = len(body.translate(None, _NO_LEADS)) - len(remainder.translate(None, _NO_LEADS))
    # Letters of other encodings rarely stand together as UTF-8 wants it: a few of a hundred do so by chance.
    if says_utf8:
        return bad <= max(_STRAY_BYTES, good)
    return good >= (5 if says_other else 3) * bad


def _decode_as(body: bytes, name: str) -> bytes | None:
    """The text in the encoding `name`, with a few characters replaced at most."""
    try:
        if not codecs.lookup(name)._is_text_encoding:
            return None
        text = body.decode(name, "replace")
    except (UnicodeError, LookupError, ValueError):
        return None
    # A wrong guess replaces every third character or none; a slip is one in a hundred of those that are not ASCII.
    bad = text.count("\ufffd")
    if bad > _STRAY_BYTES and 100 * bad > len(text.encode("utf-8", "replace").translate(None, _ASCII)) // 2:
        return None
    return _encode_if_text(text)


def _encode_if_text(text: str) -> bytes | None:
    encoded = text.encode("utf-8", "replace")
    return encoded if _is_text(encoded) else None


def _is_text(body: bytes) -> bool:
    # Binary data decodes as Latin-1 too, into control characters. A stray zero byte makes no page binary.
    head = body[:_HEAD]
    return len(head) - len(head.translate(None, _CONTROLS)) <= max(2, len(head) // 500)


def _decode_utf16(body: bytes, percent: int = 60) -> bytes | None:
    """UTF-16 without its mark: of every two bytes of a page's markup one is zero, always the same."""
    head = body[:_HEAD]
    for name, zeros in (("utf-16-le", head[1::2]), ("utf-16-be", head[::2])):
        if len(head) > 8 and 100 * zeros.count(0) > percent * len(zeros) and 10 * head.count(0) <= 11 * zeros.count(0):
            return _decode_as(body, name)
    return None


def _declared_encoding(body: bytes) -> str:
    match = re.search(
        rb"(?:<meta[^>]{0,200}?charset|<\?xml[^>]{0,80}?encoding)\s*=\s*[\"']?\s*([\w:-]+)", body[:_HEAD], re.I
    )
    return match[1].decode("ascii", "replace") if match else ""


def _guess_encoding(body: bytes) -> str:
    from resiliparse.parse.encoding import detect_encoding

    return detect_encoding(body[:200_000]) or ""
