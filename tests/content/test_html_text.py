"""HTML to the text that a reader sees."""

import pytest

from policyd.content.html import addresses, to_text


@pytest.mark.parametrize(
    ("markup", "text"),
    [
        ("no tags", "no tags"),
        ("a<b>b</b>c", "abc"),
        ("<p>a</p><p>b</p>", "\na\n\nb\n"),
        ("one\ntwo", "one\ntwo"),
        ("<i>one\ntwo</i>\nthree", "one two three"),
        ("<td>a</td><td>b", "\na\n\nb"),
        ("a<!-- <p>unseen</p> -->b", "ab"),
        ("a<!-- no end <p>b", "a"),
        ("a<style>p {x: y}</style>b", "ab"),
        ("a<SCRIPT>if (1 < 2) b()</SCRIPT>c", "ac"),
        ("a<script>no end", "a"),
        ("<title>x</title>a", "a"),
        ("2 < 3 and 4 > 3", "2 < 3 and 4 > 3"),
        ("a <b", "a <b"),
        ("<!DOCTYPE html>a", "a"),
        ("&lt;b&gt; &amp;amp; &eacute;&#233;&#xE9;", "<b> &amp; ééé"),
        ("&nosuch; &; & &#0; &#xD800; &#9999999;", "&nosuch; &; &      "),
        ("&copy", "©"),
        ("<blockquote>a<br>b</blockquote>c", "\n> a\n> b\nc"),
        ("</blockquote>a", "\na"),
        ('a<div class="gmail_signature">b</div>', "a\n-- \nb\n"),
        ("\u0130<style>x</style>a", "i\u0307a"),
    ],
)
def test_text(markup: str, text: str) -> None:
    assert to_text(markup) == text


def test_what_is_linked_to() -> None:
    markup = """<a href="https://a.example/b?user=1">x</a> <IMG SRC = 'cid:1'> <a href=c#d>"""
    assert addresses(markup) == ["https://a.example/b", "cid:1", "c"]
