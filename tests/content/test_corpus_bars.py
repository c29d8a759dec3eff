"""Variants of real mails are found to be alike, and strangers are not."""

import pytest
from content.corpus import Mail, mails, why_not
from content.measuring import BARS, recalls, senders, strangers
from excuse import unable


@pytest.fixture(scope="module")
def corpus() -> tuple[Mail, ...]:
    if reason := why_not():
        unable(reason)
    return mails()


def test_variants(corpus: tuple[Mail, ...]) -> None:
    found = dict(recalls(corpus[::60]))
    assert BARS.keys() - found.keys() == {"false joins"}
    assert {name: found[name] for name in BARS if name in found and found[name] < BARS[name]} == {}
    assert min(found.values()) > 0.85


def test_strangers(corpus: tuple[Mail, ...]) -> None:
    joins = strangers(corpus[::4], 40)
    assert joins.mails > 1000
    assert joins.share <= BARS["false joins"]


def test_each_sender(corpus: tuple[Mail, ...]) -> None:
    joins = senders(corpus[:1500])
    assert joins.right > 10  # newsletters, and the like
    assert joins.share <= BARS["false joins"]
