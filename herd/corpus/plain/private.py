"""What could lead to a person or open a door: found and masked."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from herd.corpus.plain.tables import int_constant, values
from herd.corpus.plain.text import is_alnum, is_alpha, is_digit

_KINDS = values("private.hpp", "Private")
EMAIL, ADDRESS, PHONE, KEY = (_KINDS[name] for name in ("Email", "Address4", "Phone", "Key"))
KIND_COUNT = _KINDS["PrivateCount"]
_LONGEST_KEY = int_constant("private.cpp", "kLongestKey")
_LOCAL = frozenset(b"!#$%&'*+/=?^_`{|}~-.")
_TOKEN, _DOTTED, _VALUE = (
    re.compile(rb"[\w-]*", re.ASCII),
    re.compile(rb"[\w.-]*", re.ASCII),
    re.compile(rb"[\w+/=-]*", re.ASCII),
)
_STARTS = re.compile(rb"[@0-9+(:AgsxehnS\-pataPTrk]")
_HEXADECIMAL = frozenset(b"0123456789abcdefABCDEF:")
# The makers' own prefixes, and how many characters follow at least; Amazon's, all capitals, may hold one digit.
_SHAPES = (
    *((b"AKIA", 16, 1), (b"ASIA", 16, 1), (b"AIza", 35, 2), (b"ghp_", 36, 2), (b"gho_", 36, 2), (b"ghs_", 36, 2)),
    *((b"ghu_", 36, 2), (b"ghr_", 36, 2), (b"github_pat_", 22, 2), (b"glpat-", 20, 2), (b"sk-", 20, 2)),
    *((b"sk_live_", 16, 2), (b"sk_test_", 16, 2), (b"rk_live_", 16, 2), (b"pk_live_", 16, 2), (b"xoxb-", 20, 2)),
    *((b"xoxp-", 20, 2), (b"xoxa-", 20, 2), (b"xoxs-", 20, 2), (b"hf_", 30, 2), (b"npm_", 30, 2), (b"SG.", 40, 2)),
    *((b"pypi-", 40, 2), (b"eyJ", 60, 2)),
)
_NAMES = tuple(
    b"api_key apikey api-key secret_key secret-key secretkey access_token access-token auth_token auth-token authtoken "
    b"access_key access-key secret token private_key password".split()
)


class Secret(NamedTuple):
    """Bytes [begin, end) of a text."""

    begin: int
    end: int
    kind: int


def _is_word_byte(byte: int) -> bool:
    return is_alnum(byte) or byte == 0x5F or byte >= 0x80


def _is_public(ip: Sequence[int]) -> bool:
    a, b, c, _ = ip
    if a in (0, 10, 127) or a >= 224:
        return False
    if (a == 100 and 64 <= b < 128) or (a == 169 and b == 254) or (a == 172 and 16 <= b < 32):
        return False
    if a == 192 and (b == 168 or (b == 0 and c in (0, 2)) or (b == 88 and c == 99)):
        return False
    if a == 198 and (b in (18, 19) or (b == 51 and c == 100)):
        return False
    return not (a == 203 and b == 0 and c == 113)


class _Numbers:
    """Addresses and phone numbers of a text, among the secrets met so far."""

    def __init__(self, text: bytes) -> None:
        self.text = text
        self.secrets: list[Secret] = []

    def at(self, place: int) -> int:
        return self.text[place] if place < len(self.text) else 0

    def last_end(self) -> int:
        return self.secrets[-1].end if self.secrets else 0

    def add(self, begin: int, end: int, kind: int) -> bool:
        while self.secrets and self.secrets[-1].end > begin:
            if self.secrets[-1].begin < begin:
                return False
            self.secrets.pop()
        self.secrets.append(Secret(begin, end, kind))
        return True

    # ---- IP addresses ----

    def address4(self, begin: int) -> int:
        """The length of a public IPv4 address; 0 for none. Versions and longer dotted numbers are none."""
        text = self.text
        if begin > 0:
            before = text[begin - 1]
            if _is_word_byte(before) or (before == 0x2E and begin > 1 and is_digit(text[begin - 2])):
                return 0
        ip, end = [], begin
        for part in range(4):
            first = end
            while is_digit(self.at(end)) and end - first < 3:
                end += 1
            if end == first or int(text[first:end]) > 255:
                return 0
            ip.append(int(text[first:end]))
            if part < 3:
                if self.at(end) != 0x2E:
                    return 0
                end += 1
        after = self.at(end)
        if _is_word_byte(after) or (after == 0x2E and is_digit(self.at(end + 1))):
            return 0
        before = text[max(0, begin - 12) : begin].lower().rstrip()
        if before.endswith((b"version", b"v.", b"release", b"section")):
            return 0
        return end - begin if _is_public(ip) else 0

    def address6(self, colon: int) -> None:
        """A global IPv6 address (2000::/3 without the documentation's 2001:db8::/32) around a colon."""
        text, begin, end = self.text, colon, colon
        while begin > self.last_end() and colon - begin < 5 and text[begin - 1] in _HEXADECIMAL:
            begin -= 1
        while end < len(text) and end - begin < 40 and text[end] in _HEXADECIMAL:
            end += 1
        if (begin > 0 and _is_word_byte(text[begin - 1])) or _is_word_byte(self.at(end)):
            return
        while end > begin and text[end - 1] == 0x3A:
            end -= 1
        ip = text[begin:end]
        groups = digits = 0
        gap = False
        for place, byte in enumerate(ip):
            if byte == 0x3A:
                if ip[place + 1 : place + 2] == b":":
                    if gap:
                        return
                    gap = True
                digits = 0
            else:
                groups += digits == 0
                digits += 1
                if digits > 4:
                    return
        if groups > 8 or (groups < 8 and not gap) or groups < 3 or ip[:1] not in (b"2", b"3"):
            return
        if ip[:9].lower() != b"2001:db8:" and ip.find(b":") == 4:
            self.add(begin, end, ADDRESS)

    # ---- phone numbers ----

    def number(self, begin: int) -> bool:
        if is_digit(self.text[begin]) and (length := self.address4(begin)):
            return self.add(begin, begin + length, ADDRESS)
        length = self.phone(begin)
        return bool(length) and self.add(begin, begin + length, PHONE)

    def phone(self, begin: int) -> int:
        """The length of +49 30 1234567, (415) 555-0123, 415-555-0123 or 030 / 1234567; 0 for none.

        Separators make a number a phone's; runs of digits alone are ids. Dates, amounts and ISBNs have other shapes."""
        text, first = self.text, self.text[begin]
        if begin > 0 and (_is_word_byte(text[begin - 1]) or text[begin - 1] in b".-/$#="):
            return 0
        international = first == 0x2B
        groups, separators, last = self.groups(begin + international, begin)
        digits = sum(groups)
        if _is_word_byte(self.at(last)) or not groups or digits > 15:
            return 0
        if international:
            return 0 if digits < 8 or self.at(begin + 1) == 0x30 else last - begin
        north_american = digits == 10 and groups == [3, 3, 4]
        with_one = digits == 11 and len(groups) == 4 and first == 0x31 and groups[0] == 1 and groups[3] == 4
        if (north_american or with_one) and first != 0x30:
            return last - begin
        starts = first == 0x30 or (first == 0x28 and self.at(begin + 1) == 0x30)
        trunk = starts and 9 <= digits <= 12 and len(groups) >= 2 and 2 <= groups[0] <= 6 and groups[-1] >= 2
        if trunk and b"." not in separators:
            return last - begin
        return last - begin if trunk and len(groups) >= 4 and groups[0] == 2 else 0  # 01.23.45.67.89

    def groups(self, end: int, begin: int) -> tuple[list[int], bytes, int]:
        """How many digits stand together, what separates them, and where the last one ends."""
        text, last, run, depth = self.text, begin, 0, 0
        groups: list[int] = []
        separators = b""
        while end < len(text) and end - begin < 24:
            sign = text[end : end + 1]
            if sign.isdigit():
                run += 1
                last = end = end + 1
                continue
            depth += sign == b"("
            if sign == b")":
                depth -= 1
                if depth < 0:
                    break
            if sign not in (b" ", b"-", b".", b"/", b"(", b")"):
                break
            if run:
                groups.append(run)
                separators += sign
            run = 0
            after = text[end + 1 : end + 2]
            pair = (sign == b")" and after in (b" ", b"-")) or (sign == b" " and after in (b"(", b"/", b"-"))
            pair = pair or (sign in (b"/", b"-") and after == b" ")
            if not after.isdigit() and not pair and after != b"(":
                break
            end += 1
        return ([*groups, run] if run else groups), separators, last


class _Finder(_Numbers):
    """Goes through one text for all kinds of secrets."""

    def __init__(self, text: bytes) -> None:
        super().__init__(text)
        self.no_end = False  # of a private key, from here on

    def run(self) -> list[Secret]:
        text, at = self.text, 0
        while start := _STARTS.search(text, at):
            at = start.start()
            sign = text[at]
            if sign == 0x40:
                self.email(at)
            elif is_digit(sign) or sign in b"+(":
                if not self.number(at) and is_digit(sign):
                    # The rest of these digits starts nothing of its own, but letters after them may.
                    while is_digit(self.at(at + 1)):
                        at += 1
            elif sign == 0x3A:
                if at + 1 < len(text):
                    self.address6(at)
            else:
                self.key(at)
            if self.secrets and self.secrets[-1].end > at + 1:
                at = self.secrets[-1].end - 1
            at += 1
        return self.secrets

    # ---- e-mail (RFC 5322's dot-atom and a domain of two labels or more) ----

    def email(self, sign: int) -> None:
        text, begin = self.text, sign
        while begin > 0 and sign - begin < 64 and (is_alnum(text[begin - 1]) or text[begin - 1] in _LOCAL):
            begin -= 1
        while begin < sign and not is_alnum(text[begin]) and text[begin] != 0x5F:
            begin += 1
        if begin == sign or text[sign - 1] == 0x2E:
            return
        end = label = sign + 1
        dots = 0

        def is_label(byte: int) -> bool:
            return is_alnum(byte) or byte == 0x2D

        while end < len(text) and (
            is_label(text[end]) or (text[end] == 0x2E and end > label and is_label(self.at(end + 1)))
        ):
            if text[end] == 0x2E:
                dots += 1
                label = end + 1
            end += 1
        while end > label and text[end - 1] == 0x2D:
            end -= 1
        if dots and end - label >= 2 and is_alpha(text[label]):
            self.add(begin, end, EMAIL)

    # ---- keys ----

    def key(self, begin: int) -> None:
        text = self.text
        if begin > 0 and _is_word_byte(text[begin - 1]) and text[begin] != 0x2D:
            return
        for prefix, least, digits in _SHAPES:
            if not text.startswith(prefix, begin):
                continue
            start = begin + len(prefix)
            match = (_DOTTED if prefix in (b"SG.", b"eyJ") else _TOKEN).match(text, start)
            end = match.end() if match else start
            if end - start >= least and self.is_mixed(start, end, digits):
                self.add(begin, end, KEY)
                return
        if text.startswith(b"-----BEGIN ", begin):
            self.private_key(begin)
        else:
            self.named_key(begin)

    def private_key(self, begin: int) -> None:
        text = self.text
        close = text[begin : begin + 76].find(b"PRIVATE KEY-----")
        if not 0 <= close < 60:
            return
        end = -1 if self.no_end else text.find(b"-----END ", begin + close)
        self.no_end = end < 0
        stop = min(len(text), begin + close + 16) if end < 0 else text.find(b"-----", end + 9)
        self.add(begin, len(text) if stop < 0 else min(len(text), stop + 5), KEY)

    def named_key(self, begin: int) -> None:
        """A value of mixed characters after a telling name: api_key = "…", token: …, password=…"""
        lowered = self.text[begin : begin + 16].lower()
        name = next((name for name in _NAMES if lowered.startswith(name)), b"")
        if not name:
            return
        start = begin + len(name)
        start += self.at(start) in b"\"'"
        start = self.after_spaces(start)
        if self.at(start) not in b"=:":
            return
        start = self.after_spaces(start + 1)
        start += self.at(start) in b"\"'"
        match = _VALUE.match(self.text, start)
        end = match.end() if match else start
        if end - start >= 16 and self.is_mixed(start, end, 2):
            self.add(start, end, KEY)

    def after_spaces(self, at: int) -> int:
        while self.at(at) == 0x20:
            at += 1
        return at

    def is_mixed(self, begin: int, end: int, least_digits: int) -> bool:
        own = self.text[begin : min(end, begin + _LONGEST_KEY)]
        return sum(map(is_digit, own)) >= least_digits and sum(map(is_alpha, own)) >= 2


def find_private(text: bytes) -> list[Secret]:
    """Secrets in their order, none inside another."""
    return _Finder(text).run()


def mask_private(texts: Sequence[bytes], masks: Sequence[bytes | None]) -> tuple[list[bytes], list[list[int]]]:
    """The texts with each kind of secret replaced by its mask, and how many of each kind there were. A kind without a
    mask stays."""
    masked, counts = [], []
    for text in texts:
        own, parts, at = [0] * KIND_COUNT, [], 0
        for secret in find_private(text):
            mask = masks[secret.kind]
            if mask is None:
                continue
            parts += [text[at : secret.begin], mask]
            at = secret.end
            own[secret.kind] += 1
        masked.append(b"".join((*parts, text[at:])))
        counts.append(own)
    return masked, counts
