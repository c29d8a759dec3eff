"""What Postfix is told: never a permission, never more than fits, never anything but one line."""

import re

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from policyd.protocol.reply import PASS, ROOM, Verdict, reply, starts_over, to_ascii
from policyd.protocol.request import Stage

REPLY = re.compile(
    rb"action=(REJECT|DEFER|HOLD|WARN|[45][0-9]{2})"
    rb"(?: ([45]\.[0-9]{1,3}\.[0-9]{1,3}))? ([!-~](?:[ -~]*[!-~])?)\n\n"
)
STATUS = re.compile(rb"[245]\.[0-9]{1,3}\.[0-9]{1,3}")

CHARACTERS = st.one_of(
    st.characters(),
    st.characters(categories=["Cs", "Cc", "Cf", "Zl", "Zp", "Zs", "Mn", "Nd"]),
)
PIECES = st.sampled_from(
    ["\n", "\r\n", "\n\n", "action=OK\n\n", "=", "450", "é", "\u2028", "\x85", "ﷺ", " ", "\0"]
)
TEXTS = st.one_of(
    st.text(CHARACTERS),
    st.lists(st.one_of(PIECES, st.text(CHARACTERS, max_size=5))).map("".join),
    st.tuples(st.text(CHARACTERS, min_size=1, max_size=9), st.integers(50, 9000)).map(
        lambda of: of[0] * of[1]
    ),
)
VERBS = st.sampled_from(["REJECT", "DEFER", "HOLD", "WARN", "421", "450", "452", "521", "554"])
STATUSES = st.sampled_from(["4.7.1", "5.7.1", "5.5.3", "4.255.1"])


@pytest.mark.parametrize("stage", ROOM)
def test_a_pass_is_these_bytes(stage: Stage) -> None:
    assert reply(PASS, stage) == b"action=DUNNO\n\n"
    assert reply(Verdict("DUNNO"), stage) == b"action=DUNNO\n\n"


def test_a_refusal_is_its_verb_its_status_and_its_text() -> None:
    assert reply(Verdict("REJECT", "5.7.1", "No, thanks")) == b"action=REJECT 5.7.1 No, thanks\n\n"
    assert reply(Verdict("521", "5.7.1", "No")) == b"action=521 5.7.1 No\n\n"
    assert reply(Verdict("WARN", "", "Look")) == b"action=WARN Look\n\n"


@settings(deadline=None)
@given(VERBS, st.one_of(st.just(""), STATUSES), TEXTS, st.sampled_from([*ROOM]))
@example("REJECT", "5.7.1", "", Stage.RCPT)
@example("450", "4.7.1", "\n", Stage.RCPT)
@example("WARN", "", "12345", Stage.RCPT)
@example("REJECT", "5.7.1", "é" * 451, Stage.END_OF_MESSAGE)
def test_every_other_verdict_is_one_line_that_fits(
    verb: str, status: str, text: str, stage: Stage
) -> None:
    data = reply(Verdict(verb, status, text), stage)
    match = REPLY.fullmatch(data)
    assert match is not None
    assert match[1] == verb.encode()
    assert len(match[3]) <= (200 if stage is Stage.RCPT else 450)
    # the whole SMTP reply, as Postfix writes it with the longest recipient there is
    before = {
        Stage.RCPT: f"554 5.255.255 <{'r' * 254}>: Recipient address rejected: ",
        Stage.END_OF_MESSAGE: "554 5.255.255 <END-OF-MESSAGE>: End-of-data rejected: ",
    }
    assert len(before[stage]) + len(match[3]) + len("\r\n") <= 512


@pytest.mark.parametrize("verb", ["REJECT", "DEFER", "450", "554"])
def test_a_text_that_reads_like_a_status_is_not_all_there_is(verb: str) -> None:
    # Postfix would take it for the status, and read past its end for the text
    data = reply(Verdict(verb, "", "5.7.1"))
    words = data.removesuffix(b"\n\n").split(b" ")[1:]
    assert not STATUS.fullmatch(words[0]) or len(words) > 1


@pytest.mark.parametrize("stage", ROOM)
def test_a_text_is_cut_at_its_room_and_not_before(stage: Stage) -> None:
    room = ROOM[stage]
    for length in (room - 1, room, room + 1):
        data = reply(Verdict("REJECT", "5.7.1", "x" * length), stage)
        assert data == b"action=REJECT 5.7.1 " + b"x" * min(length, room) + b"\n\n"


def test_room_is_what_the_policy_says() -> None:
    assert ROOM == {Stage.RCPT: 200, Stage.END_OF_MESSAGE: 450}


@pytest.mark.parametrize("text", ["", " ", "\n\n", "\u2028", "\x00", "\u200b \u0301"])
def test_where_no_text_is_left_there_are_words_all_the_same(text: str) -> None:
    assert reply(Verdict("450", "4.7.1", text)) == b"action=450 4.7.1 Refused by policy\n\n"


@pytest.mark.parametrize(
    "verb",
    [
        *["", " ", "OK", "ok", "permit", "250", "0", "200", "354", "600", "45", "4500", "-450"],
        *["reject", "REJECT ", " REJECT", "REJECT\n", "DEFER_IF_PERMIT", "DISCARD", "FILTER x:y"],
        *[
            "PREPEND",
            "DUNNO ",
            "dunno",
            "INFO",
            "HANGUP",
            "4\u0665\u0665",
            "REJECT 5.7.1",
            "450-",
            "550\n",
        ],
    ],
)
@pytest.mark.parametrize("text", ["", "words"])
def test_a_verb_that_is_not_ours_is_never_sent(verb: str, text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        reply(Verdict(verb, "", text))


def test_a_pass_with_words_is_no_pass() -> None:
    with pytest.raises(ValueError, match="no answer"):
        reply(Verdict("DUNNO", "", "words"))
    with pytest.raises(ValueError, match="no answer"):
        reply(Verdict("DUNNO", "5.7.1"))


@pytest.mark.parametrize(
    "status",
    ["2.0.0", "5", "5.7", "5.7.", "5.7.1 ", " 5.7.1", "5.7.1\n", "5.7.1000", "6.7.1", "5.7.-1"],
)
def test_a_status_that_is_none_is_never_sent(status: str) -> None:
    with pytest.raises(ValueError, match="no status"):
        reply(Verdict("REJECT", status, "words"))


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("Grüße, José", "Gru?e, Jose"),
        ("用户@x", "??@x"),
        ("a\r\nb\tc\x00d\x7fe", "abcde"),
        ("a\x85b\u2028c\u2029d", "abcd"),
        ("\u202eevil\u202c", "evil"),
        ("\uff46ull", "full"),
        ("a\u00a0b", "a b"),
        ("\udcff", "?"),
        ("~ !", "~ !"),
    ],
)
def test_what_is_not_ascii_becomes_it(text: str, plain: str) -> None:
    assert to_ascii(text) == plain


@settings(deadline=None)
@given(TEXTS)
def test_ascii_is_printable_and_stays_as_it_is(text: str) -> None:
    plain = to_ascii(text)
    assert all(" " <= character <= "~" for character in plain)
    assert to_ascii(plain) == plain


@pytest.mark.parametrize(
    ("version", "fixed"),
    [
        ("", False),
        ("unknown", False),
        ("2.11.3", False),
        ("3.4.23", False),
        ("3.7.11", False),
        ("3.7.99", False),
        ("3.8", False),
        ("3.8.0", False),
        ("3.8.19", False),
        ("3.8.20", True),
        ("3.8.21", True),
        ("3.9.13", False),
        ("3.9.14", True),
        ("3.10.12", False),
        ("3.10.13", True),
        ("3.11.5", False),
        ("3.11.6", True),
        ("3.11-20250901", False),
        ("3.12", True),
        ("3.12-20260821", True),
        ("3.12.0", True),
        ("4.0.0", True),
        ("10.1.1", True),
        ("99999.1", False),
        ("3.8.x", False),
        (" 3.12", False),
        ("9" * 5000, False),
    ],
)
def test_the_versions_that_start_over_after_a_refusal(version: str, fixed: bool) -> None:
    assert starts_over(version) is fixed


@settings(deadline=None)
@given(st.text(CHARACTERS))
def test_no_version_raises(version: str) -> None:
    assert starts_over(version) in (True, False)
