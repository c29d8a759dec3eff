"""What a milter answers, in bytes."""

import re
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from protocol.packets import replies

from policyd.protocol.milter import Changes
from policyd.protocol.milter_reply import CONTINUE, MOST_LINES, Answer, answered, negotiated
from policyd.protocol.reply import Verdict

ALL = int(Changes.ADD_HEADERS | Changes.QUARANTINE)


def said(verb: str, status: str = "", text: str = "") -> bytes:
    """Return the one reply to a message that is refused."""
    ((command, data),) = replies(answered(Answer(Verdict(verb, status, text)), ALL))
    assert command == b"y"
    return data


def test_a_pass() -> None:
    assert answered(Answer(), ALL) == CONTINUE == b"\0\0\0\1c"


def test_a_warning_passes() -> None:
    assert answered(Answer(Verdict("WARN", "", "odd")), ALL) == CONTINUE


def test_what_is_negotiated() -> None:
    assert replies(negotiated(6, 0x21, 0xFF000)) == [(b"O", struct.pack("!III", 6, 0x21, 0xFF000))]


@pytest.mark.parametrize(
    ("verdict", "expected"),
    [
        (("REJECT",), b"554 5.7.1 Refused by policy\0"),
        (("DEFER", "", "later"), b"450 4.7.1 later\0"),
        (("REJECT", "5.7.0", "50% of %s"), b"554 5.7.0 50%% of %%s\0"),
        (("421", "4.3.0", "bye"), b"421 4.3.0 bye\0"),
        (("REJECT", "", "one\ntwo"), b"554-5.7.1 one\r\n554 5.7.1 two\0"),
        (("REJECT", "", "a\r\n\r\n\0\n b "), b"554-5.7.1 a\r\n554 5.7.1 b\0"),
        (("REJECT", "", "\n \n"), b"554 5.7.1 Refused by policy\0"),
        (("REJECT", "", "Müller \N{SNOWMAN}"), b"554 5.7.1 Muller ?\0"),
    ],
)
def test_a_refusal(verdict: tuple[str, ...], expected: bytes) -> None:
    assert said(*verdict) == expected


@pytest.mark.parametrize(
    "verdict",
    [
        *(("OK",), ("",), ("250", "", "x"), ("5xx", "", "x"), ("accept",)),
        *(("REJECT", "4.7.1", "x"), ("DEFER", "5.7.1", "x"), ("REJECT", "2.0.0", "x")),
        ("REJECT", "5.7", "x"),
    ],
)
def test_what_is_no_answer(verdict: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="is no"):
        answered(Answer(Verdict(*verdict)), ALL)


@given(st.text(), st.sampled_from(["REJECT", "DEFER", "550", "421"]))
def test_any_text_makes_lines_of_a_reply(text: str, verb: str) -> None:
    data = said(verb, "", text * 30)
    assert data.endswith(b"\0")
    lines = data[:-1].split(b"\r\n")
    assert 1 <= len(lines) <= MOST_LINES
    for number, line in enumerate(lines, 1):
        separator = b" " if number == len(lines) else b"-"
        assert re.fullmatch(rb"[45]\d\d%b[45]\.7\.1 (?:[ -$&-~]|%%%%)+" % separator, line)
        assert len(line.replace(b"%%", b"%")) + 2 <= 512


def test_held() -> None:
    held = Answer(Verdict("HOLD", "", "look at ü"))
    assert replies(answered(held, ALL)) == [(b"q", b"look at u\0"), (b"c", b"")]
    assert answered(held, int(Changes.ADD_HEADERS)) == CONTINUE
    assert replies(answered(Answer(Verdict("HOLD")), ALL))[0] == (b"q", b"Held by policy\0")


def test_headers() -> None:
    scored = Answer(headers=(("X-Score", "7\r\nX-Forged: 1"), ("X-Group", "")))
    assert replies(answered(scored, ALL)) == [
        (b"h", b"X-Score\x007X-Forged: 1\0"),
        (b"h", b"X-Group\0\0"),
        (b"c", b""),
    ]
    assert answered(scored, int(Changes.QUARANTINE)) == CONTINUE


def test_who_is_refused_gets_no_headers() -> None:
    both = Answer(Verdict("REJECT"), (("X-Score", "7"),))
    assert [command for command, _ in replies(answered(both, ALL))] == [b"y"]


@pytest.mark.parametrize("name", ["", "X:", "X Y", "X\n", "Ü"])
def test_what_is_no_name_of_a_header(name: str) -> None:
    with pytest.raises(ValueError, match="no name of a header"):
        answered(Answer(headers=((name, "x"),)), ALL)
