"""What curation has to find: spam, boilerplate and copies that differ in a few words."""

from __future__ import annotations

import random
import re

_OFFERS = "pills watches loans tickets followers vouchers coupons casino chips phones sunglasses".split()
_SHOUTS = ("buy now", "click here", "limited offer", "best price", "free shipping", "act fast", "100% free")

NAVIGATION = ("Home", "Products", "News", "Forum", "Sign in", "Register", "Search this site")
FOOTER = (
    "All rights reserved.",
    "We use cookies to improve your visit. Accept all cookies or change your settings.",
    "Subscribe to our newsletter and never miss an update.",
)


def spam(chance: random.Random) -> str:
    """A page that sells something, again and again."""
    product = chance.choice(_OFFERS)
    lines = []
    for _ in range(chance.randint(12, 30)):
        shout = chance.choice(_SHOUTS)
        lines.append(f"{shout.upper()}!!! cheap {product} {shout} cheap {product} {shout} ### {chance.choice(_OFFERS)}")
    return "\n".join(lines)


_PRAISED = ("our team", "the new season", "this guide", "a trusted partner", "the whole family", "your smart choice")
_DOES = ("brings you", "takes care of", "is all about", "makes the most of", "helps you compare", "has tips on")
_HOW = ("the finest", "hand-picked", "affordable", "award-winning", "carefully tested", "the latest", "reliable")
_WHY = (
    "so that you can relax and enjoy more of what matters",
    "because every customer is different and deserves the best",
    "without hidden fees, whatever the size of your order",
    "and thousands of happy readers agree with us every day",
    "with delivery to your door and friendly advice on the phone",
    "which is why so many people come back to us year after year",
)


def advert(chance: random.Random) -> str:
    """A page that sells something in well-formed prose, which no rule of thumb tells from an article."""
    products = chance.sample(_OFFERS, 3)
    sentences = (
        f"{chance.choice(_PRAISED)} {chance.choice(_DOES)} {chance.choice(_HOW)} {chance.choice(products)} "
        f"and {chance.choice(_HOW)} {chance.choice(products)}, {chance.choice(_WHY)}."
        for _ in range(chance.randint(6, 16))
    )
    return " ".join(sentence[0].upper() + sentence[1:] for sentence in sentences)


def near_copy(text: str, chance: random.Random, edits_per_1000_words: float = 4.0) -> str:
    """`text` with a few words changed, at least one: what a mirror or a newer printing looks like."""
    words = re.split(r"(\s+|&nbsp;|<[^>]*>)", text)  # in HTML only the text is changed
    places = [i for i, word in enumerate(words) if word.isalpha() and word.islower() and len(word) > 3]
    if not places:
        return text + " again"
    count = max(1, min(len(places), round(len(places) * edits_per_1000_words / 1000)))
    for place in chance.sample(places, count):
        words[place] = chance.choice(("other", "given", "certain", "named", "several", "proper"))
    return "".join(words)


def distinct_ngrams(text: str, length: int = 5) -> int:
    """How many different runs of `length` words a text has: what near-duplicates are told by."""
    words = text.split()
    return len(set(zip(*(words[start:] for start in range(length)), strict=False)))
