"""Tables for people: aligned and harmless, whatever stands in them."""

import sys

import pytest

from policyd.cli.tables import bold, exact, facts, moment, shown, table, width


def test_columns_are_aligned_and_numbers_to_the_right() -> None:
    rows = [("alice", 7, "-", "x"), ("bob", 1652, "3", "yy")]
    assert list(table(("Who", "Number", "Strike", "Why"), rows)) == [
        "Who    Number  Strike  Why",
        "alice       7  -       x",
        "bob      1652  3       yy",
    ]


def test_wide_characters_take_two_columns_and_accents_none() -> None:
    widths = {"abc": 3, "日本": 4, "e\u0301": 1, "ﬀ": 1, "\uff20": 2, "Ж": 1}
    assert {text: width(text) for text in widths} == widths
    assert list(table(("Who", "Why"), [("日本", "x"), ("e\u0301", "y"), ("abcd", "z")])) == [
        "Who   Why",
        "日本  x",
        "e\u0301     y",
        "abcd  z",
    ]


@pytest.mark.parametrize(
    ("text", "harmless"),
    [
        ("\x1b[31mred", "\\x1b[31mred"),
        ("two\nlines\tand\0", "two\\nlines\\tand\\x00"),
        ("\u202egnp.exe", "\\u202egnp.exe"),
        ("b\udcfcrgi", "b\\udcfcrgi"),
        ("soft\u00adhyphen \u2028", "soft\\xadhyphen \\u2028"),
        ("日本 Žižkov", "日本 Žižkov"),
    ],
)
def test_what_does_not_print_is_escaped(text: str, harmless: str) -> None:
    assert shown(text) == harmless
    assert list(table(("Who",), [(text,)]))[1] == harmless
    assert list(facts([("who", text)])) == [f"  who  {harmless}"]


def test_a_table_without_rows_is_nothing() -> None:
    assert list(table(("Who", "Why"), [])) == []


def test_facts_have_their_name_once_and_empty_ones_are_left_out() -> None:
    pairs = [("account", "a"), ("to", "x"), ("to", "y"), ("subject", ""), ("strike", 0)]
    assert list(facts(pairs)) == ["  account  a", "  to       x", "           y"]
    assert list(facts([])) == []


def test_times() -> None:
    iso = "2026-11-25T10:38:46+01:00"
    assert moment(iso) == "2026-11-25 10:38 +01:00"
    assert exact(iso) == "2026-11-25 10:38:46 +01:00"
    assert (moment(None), moment(None, "never"), exact(None)) == ("", "never", "")


def test_bold_type_is_for_terminals_that_want_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert bold("x") == "x"
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert bold("x") == "\x1b[1mx\x1b[0m"
    monkeypatch.setenv("NO_COLOR", "")
    assert bold("x") == "x"
