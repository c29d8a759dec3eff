"""What a real Postfix told a milter, played back: how the bytes arrive makes no difference.

The recordings in data/milter/ were made by record.py there, which says what the client did.
"""

from pathlib import Path
from typing import NamedTuple

import pytest
from protocol.packets import events, replies
from protocol.streams import chunked

from policyd.protocol.milter import MilterParser, Rcpt
from policyd.protocol.milter_reply import Answer
from policyd.protocol.milter_session import MilterMessage, MilterSession

SESSIONS = Path(__file__).parents[1] / "data" / "milter"
RECORDED = {path.stem: path for path in SESSIONS.glob("*.hex")}
CHUNKS = (1, 2, 7, 1000, 10**9)

ALICE, A, B = "alice@sender.example", "a@ext.example", "b@ext.example"


class Shown(NamedTuple):
    """What a message should look like."""

    sender: str
    recipients: list[str]
    content: list[bytes]


NEWS = [b"Subject: News"]
ODD = [b"Subject: one\n two", b"X-Empty: ", b"caf\xe9\r\n.dot\0\r\n"]
TWO = [Shown("first@sender.example", [A, B], ODD), Shown(ALICE, [A], NEWS)]
EXPECTED = {
    "two-messages": TWO,
    "old-protocol": TWO,
    "beyond-ascii": [
        Shown("josé@sender.example", ["用户@例え.example", "info@bücher.example"], NEWS),
        Shown("", [A], NEWS),
    ],
    "ended-early": [Shown(ALICE, [B], NEWS)],
}


class Lines:
    """A sink that keeps all as lines."""

    def __init__(self) -> None:
        self.lines: list[bytes] = []

    def header(self, name: bytes, value: bytes) -> None:
        self.lines.append(name + b": " + value)

    def body(self, data: bytes) -> None:
        self.lines.append(data)


def recorded(name: str) -> bytes:
    lines = RECORDED[name].read_text(encoding="ascii").splitlines()
    return bytes.fromhex("".join(line for line in lines if not line.startswith("#")))


def played(name: str, size: int) -> tuple[list[MilterMessage[Lines]], bytes]:
    """Return the messages of a session, and all replies."""
    messages: list[MilterMessage[Lines]] = []

    def decide(message: MilterMessage[Lines]) -> Answer:
        messages.append(message)
        return Answer()

    parser, session = MilterParser(), MilterSession(Lines, decide)
    said = b""
    for chunk in chunked(recorded(name), size):
        said += b"".join(map(session.take, parser.feed(chunk)))
    assert parser.error is None
    assert len(parser._buffer) == 0
    assert session.is_over
    return messages, said


@pytest.mark.parametrize("size", CHUNKS)
@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_the_messages_of_a_session(name: str, size: int) -> None:
    messages, _ = played(name, size)
    for message, shown in zip(messages, EXPECTED[name], strict=True):
        assert message.sender == shown.sender
        assert message.recipients == shown.recipients
        assert message.recipient_count == len(shown.recipients)
        assert message.sasl_username == "müller@sender.example"
        assert message.sasl_method == "XCLIENT"
        assert message.client_address == "192.0.2.7"
        assert message.content.lines[: len(shown.content)] == shown.content
        assert message.queue_id
    assert len({message.queue_id for message in messages}) == len(messages)


def test_every_recording_is_looked_at() -> None:
    assert set(RECORDED) == set(EXPECTED)


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_the_replies(name: str) -> None:
    messages, said = played(name, 10**9)
    commands = [command for command, _ in replies(said)]
    assert commands[0] == b"O"
    assert set(commands[1:]) == {b"c"}
    # one a message; or one a step: the client, and of each message the sender, the recipients, the
    # headers, the body and the end
    expected = 1 + (1 + 2 + 2 + 1 + 1) + (1 + 1 + 1 + 1 + 1)
    assert len(commands) - 1 == (expected if name == "old-protocol" else len(messages))


def test_the_name_in_the_queue_is_known_only_after_the_first_recipient() -> None:
    # so it has to be taken from a later step
    found, _ = events([recorded("two-messages")])
    at = next(number for number, event in enumerate(found) if isinstance(event, Rcpt))
    assert not any(b"i" in getattr(event, "values", {}) for event in found[:at])
