"""Variants of a text, as senders of mailings make them, and as those do who want not to be found.

A text is a list of paragraphs, each a list of words. All is drawn from a seeded *Draw*.
"""

from collections.abc import Callable, Mapping, Sequence
from email.message import EmailMessage
from email.policy import SMTP
from html import escape
from random import Random

Text = list[list[str]]

NAMES = """
    Anna Bob Carol Dietrich Elena François Göran Hannah Igor José Katarzyna Liam Mehmet Nora Olu
    Priya Quentin Rosa Søren Tomáš Uwe Valérie Wei Ximena Yusuf Zoë
""".split()
FAMILIES = """
    Abel Bauer Costa Dvořák Evans Fischer Garcia Horvat Ivanov Jansen Kowalski Lopez Müller Nilsson
    O'Brien Petrov Quist Rossi Schmidt Tanaka Usman Vogel Weber Xu Yilmaz Zimmermann
""".split()
TOWNS = "Aachen Bergen Cork Dijon Essen Fulda Genoa Haifa Ipswich Jena Kiel Linz Mons Nice".split()
LOOKALIKE = dict(zip("aeopcyx", "\u0430\u0435\u043e\u0440\u0441\u0443\u0445", strict=True))


class Draw:
    """What is drawn: numbers, and words of others' mails."""

    def __init__(self, seed: str, vocabulary: Sequence[str]) -> None:
        self.random = Random(seed)
        self._vocabulary = vocabulary

    def words(self, number: int) -> list[str]:
        """Return words of others."""
        return self.random.choices(self._vocabulary, k=number)

    def name(self) -> str:
        """Return somebody's name."""
        return f"{self.random.choice(NAMES)} {self.random.choice(FAMILIES)}"

    def is_one_of(self, share: float) -> bool:
        """Return whether something is to happen that happens to so many."""
        return self.random.random() < share


def length(text: Text) -> int:
    """Return how many words *text* has."""
    return sum(map(len, text))


def same(text: Text, _: Draw) -> Text:
    """The same again."""
    return text


def greeting(text: Text, draw: Draw) -> Text:
    """Another name in the greeting."""
    return [["Dear", *draw.name().split(), ","], *text]


def mail_merge(text: Text, draw: Draw) -> Text:
    """Name, town, number, date and a link of one's own, at five places."""
    number = str(draw.random.randrange(10**6, 10**7))
    merged = [list(paragraph) for paragraph in text]
    for more in (
        draw.name().split(),
        [draw.random.choice(TOWNS)],
        [f"{draw.random.randrange(1, 29)}.{draw.random.randrange(1, 13)}.2026"],
    ):
        paragraph = draw.random.choice(merged)
        at = len(paragraph) // 2
        paragraph[at:at] = more
    token = f"https://news.example/u/{draw.random.getrandbits(64):x}"
    return [*greeting(merged, draw), ["Your", "number:", number], ["To", "unsubscribe:", token]]


def short_merge(text: Text, draw: Draw) -> Text:
    """Name and number, and no more."""
    number = str(draw.random.randrange(10**4, 10**7))
    return [["Hello", draw.name().split()[0], ","], *text, ["Ref.", number]]


def buster(share: float) -> Callable[[Text, Draw], Text]:
    """Words that mean nothing below, so many that they are this share of the whole."""

    def busted(text: Text, draw: Draw) -> Text:
        return [*text, draw.words(round(length(text) * share / (1 - share)))]

    return busted


def swapped(share: float) -> Callable[[Text, Draw], Text]:
    """Other words in the place of some."""

    def with_others(text: Text, draw: Draw) -> Text:
        return [
            [draw.words(1)[0] if draw.is_one_of(share) else word for word in paragraph]
            for paragraph in text
        ]

    return with_others


def mistyped(text: Text, draw: Draw) -> Text:
    """Mistakes in one word of twenty."""
    return [[_mistyped(word) if draw.is_one_of(0.05) else word for word in p] for p in text]


def _mistyped(word: str) -> str:
    return word[:1] + word[2:3] + word[1:2] + word[3:] + "h"


def one_replaced(text: Text, draw: Draw) -> Text:
    """Another paragraph, of another text, in the place of one of four or more."""
    text = _in_paragraphs(text, 4)
    at = draw.random.randrange(len(text))
    return [*text[:at], draw.words(len(text[at])), *text[at + 1 :]]


def shuffled(text: Text, draw: Draw) -> Text:
    """The paragraphs in another order."""
    text = _in_paragraphs(text, 4)
    return draw.random.sample(text, len(text))


def _in_paragraphs(text: Text, least: int) -> Text:
    if len(text) >= least:
        return text
    every = [word for paragraph in text for word in paragraph]
    size = -(-len(every) // least)
    return [every[at : at + size] for at in range(0, len(every), size)]


def in_capitals(text: Text, _: Draw) -> Text:
    """All in capitals."""
    return [[word.upper() for word in paragraph] for paragraph in text]


def lookalike(text: Text, draw: Draw) -> Text:
    """Letters of other alphabets, and some of no width."""
    return [["".join(_strange(char, draw) for char in word) for word in p] for p in text]


def _strange(char: str, draw: Draw) -> str:
    if draw.is_one_of(0.1):
        return f"{char}\u200b"
    return LOOKALIKE.get(char, char) if draw.is_one_of(0.5) else char


def other_figures(text: Text, draw: Draw) -> Text:
    """Other figures wherever there are some, and a few more of them."""
    return [
        ["".join(str(draw.random.randrange(10)) if c.isdigit() else c for c in word) for word in p]
        for p in (*text, ["Invoice", "00000", "of", "0000-00-00", "over", "000.00", "EUR"])
    ]


def quoting(text: Text, draw: Draw) -> Text:
    """Another's words quoted below."""
    return [*text, ["On", "Monday", draw.name(), "wrote:"], [">", *draw.words(40)]]


def signed(text: Text, draw: Draw) -> Text:
    """Another signature below."""
    return [*text, ["--"], draw.name().split(), draw.words(12)]


VARIANTS: Mapping[str, Callable[[Text, Draw], Text]] = {
    "same": same,
    "greeting and name": greeting,
    "mail merge": mail_merge,
    "hash-buster 10 %": buster(0.1),
    "hash-buster 30 %": buster(0.3),
    "hash-buster 50 %": buster(0.5),
    "5 % of words swapped": swapped(0.05),
    "10 % of words swapped": swapped(0.1),
    "mistakes in 5 %": mistyped,
    "one paragraph replaced": one_replaced,
    "paragraphs shuffled": shuffled,
    "capitals": in_capitals,
    "lookalikes, no width": lookalike,
    "other figures": other_figures,
    "quoting another": quoting,
    "another signature": signed,
}


def wrapped(text: Text, draw: Draw) -> str:
    """Return *text* as it is sent, in lines of some width."""
    width = draw.random.randrange(50, 90)
    return "\n\n".join("\n".join(_in_lines(paragraph, width)) for paragraph in text) + "\n"


def _in_lines(paragraph: list[str], width: int) -> list[str]:
    lines, line = [], ""
    mark = "> " if paragraph[:1] == [">"] else ""
    for word in paragraph:
        if line and len(line) + len(word) >= width:
            lines.append(line)
            line = mark
        line = f"{line} {word}" if line.strip() and line != mark else f"{line}{word}"
    return [*lines, line] if line != "--" else ["-- "]


def mail(text: Text, draw: Draw, subject: str = "News", form: str = "") -> bytes:
    """Return *text* as a mail, in a *form* or in whichever is drawn."""
    form = form or draw.random.choice(("8bit", "quoted-printable", "base64", "html", "both"))
    message = EmailMessage(policy=SMTP)
    message["From"] = "alice@mail.example"
    message["To"] = f"{draw.random.getrandbits(40):x}@there.example"
    message["Subject"] = subject
    plain = wrapped(text, draw)
    if form == "html":
        message.set_content(_html(text, draw), subtype="html", cte="quoted-printable")
    elif form == "both":
        message.set_content(plain, cte="base64")
        message.add_alternative(_html(text, draw), subtype="html", cte="base64")
    else:
        message.set_content(plain, cte=form)
    return message.as_bytes()


def _html(text: Text, draw: Draw) -> str:
    """Return *text* in HTML, with tags here and there that nobody sees."""
    written = []
    for paragraph in text:
        words = [escape(word, quote=False) for word in paragraph if word != ">"]
        if paragraph[:1] == [">"]:
            written.append(f"<blockquote type=cite>{' '.join(words)}</blockquote>")
        elif paragraph == ["--"]:
            written.append('<div class="moz-signature">')
        else:
            words = [f"<b>{w}</b>" if draw.is_one_of(0.05) else w for w in words]
            style = f"margin: {draw.random.randrange(20)}px"
            written.append(f'<p style="{style}">{" ".join(words)}</p>')
    return f"<html><head><title>x</title></head><body>{''.join(written)}</body></html>"
