"""Content on its way from the wire to the engine, and the answers back."""

from base64 import b64encode
from dataclasses import replace
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
from aup.building import limit, policy, request
from protocol.packets import ABORT, connect, envelope, macros, offer, packet, replies, texts
from service.metered import Metered
from twisted.internet.address import UNIXAddress
from twisted.internet.error import ConnectionLost
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from policyd.aup.policy import Action, Likeness, LikenessBy, Policy
from policyd.aup.transaction import Connection
from policyd.content import reader
from policyd.service.milter_server import MilterServer

CONTINUE = (b"c", b"")
BY_CONTENT = Likeness(LikenessBy.CONTENT)
WORDS = "the quick brown fox jumps over the lazy dog while nobody looks at all of it"
OTHER = "thirty two other birds were counted yesterday in the park behind our old town hall"
TEXT = "Bulk mail; see https://mail.example/aup; {used} of {max}"


def rules(**changes: Any) -> Policy:
    return policy(limit(max=1, text=TEXT, strike=True), likeness=BY_CONTENT, **changes)


def shown(
    text: str, queue_id: bytes, recipient: bytes = b"<a@ext.example>", subject: str = "Grüße"
) -> bytes:
    """Return what Postfix tells of a message up to its end; its form is that of the text."""
    mail = EmailMessage()
    mail.set_content(text, cte="base64", subtype="html" if text.startswith("<") else "plain")
    header, _, body = mail.as_bytes().replace(b"\n", b"\r\n").partition(b"\r\n\r\n")
    fields = [line.split(b": ", 1) for line in header.split(b"\r\n")]
    fields.append([b"Subject", b"=?utf-8?b?%b?=" % b64encode(subject.encode())])
    told = [texts(b"L", name, value) for name, value in fields]
    return b"".join(
        [
            envelope(queue_id, recipients=[recipient]),
            macros(b"T", b"i", queue_id),
            packet(b"T"),
            *told,
            packet(b"B", body),
            packet(b"E"),
        ]
    )


class Wire:
    """A milter connection to a daemon."""

    def __init__(self, house: Metered) -> None:
        server = house.contents.service.buildProtocol(UNIXAddress(""))
        assert server is not None
        self.server: MilterServer = server
        self._transport = StringTransport(peerAddress=UNIXAddress(""))
        self.server.makeConnection(self._transport)
        self.tell(offer() + connect())

    def tell(self, data: bytes) -> list[tuple[bytes, bytes]]:
        self._transport.clear()
        self.server.dataReceived(data)
        return replies(self._transport.value())

    def lose(self) -> None:
        self.server.connectionLost(Failure(ConnectionLost()))


@pytest.fixture
def house(tmp_path: Path) -> Metered:
    return watched(tmp_path, rules())


def watched(tmp_path: Path, rules: Policy) -> Metered:
    house = Metered(tmp_path, rules)
    house.contents.begin()
    return house


def test_alike_content_is_refused_in_lines_and_all_else_passes(house: Metered) -> None:
    wire = Wire(house)
    assert wire.tell(shown(WORDS, b"Q1")) == [CONTINUE, CONTINUE]  # at DATA, and at the end
    html = f"<p>{WORDS.replace('fox', '<b>fox</b>')}</p>"
    (_, (verb, said)) = wire.tell(shown(html, b"Q2", b"<b@ext.example>"))
    assert verb == b"y"
    assert said.removesuffix(b"\0").split(b"\r\n") == [
        b"554-5.7.1 Bulk mail",
        b"554-5.7.1 see https://mail.example/aup",
        b"554 5.7.1 2 of 1",
    ]
    assert wire.tell(shown(OTHER, b"Q3")) == [CONTINUE, CONTINUE]
    (line,) = [fields for fields in house.lines.fields if fields["event"] == "refused"]
    assert (line["stage"], line["subject"]) == ("CONTENT", "Grüße")


def test_the_recipients_are_those_that_the_policy_service_knows(house: Metered) -> None:
    wire = Wire(house)
    connection = Connection("mx")
    two = ("r1@away.example", "r2@away.example")
    for recipient in two:
        house.engine.decide(request("RCPT", recipient), connection, house.now())
    wire.tell(shown(WORDS, b"Q1").removesuffix(packet(b"E")))
    end = request("END-OF-MESSAGE", recipient_count=2, queue_id="Q1")
    assert house.engine.decide(end, connection, house.now()).verdict.verb == "DUNNO"
    ((verb, said),) = wire.tell(packet(b"E"))
    assert (verb, said.split(b"\r\n")[-1]) == (b"y", b"554 5.7.1 2 of 1\0")


@pytest.mark.parametrize("how", ["abort", "lose", "next"])
def test_a_message_that_is_cut_off_counts_nothing(house: Metered, how: str) -> None:
    wire = Wire(house)
    connection = Connection("mx")
    wire.tell(shown(WORDS, b"Q1").removesuffix(packet(b"E")))
    end = request("END-OF-MESSAGE", "r1@away.example", recipient_count=1, queue_id="Q1")
    house.engine.decide(end, connection, house.now())
    assert len(house.engine.awaiting) == 1
    if how == "lose":
        wire.lose()
    else:
        wire.tell(ABORT if how == "abort" else envelope(b"Q2"))
    assert len(house.engine.awaiting) == 0
    assert house.figures()['policyd_keys{limit="bulk"}'] == 0


def test_what_cannot_be_read_is_counted_by_its_size(
    house: Metered, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: bytes) -> None:
        raise RecursionError("too deep")

    monkeypatch.setattr(reader, "take_apart", fail)
    wire = Wire(house)
    assert wire.tell(shown(WORDS, b"Q1"))[-1] == CONTINUE
    assert wire.tell(shown(WORDS, b"Q2", b"<b@ext.example>"))[-1][0] == b"y"
    assert house.figures()["policyd_milter_faults_total"] == 2
    tasks = [fields["task"] for fields in house.lines.fields if fields["event"] == "task-failed"]
    assert tasks == ["content Q1", "content Q2"]


def test_a_message_without_a_name_passes_and_is_noticed(house: Metered) -> None:
    wire = Wire(house)
    for _ in range(3):
        assert wire.tell(shown(WORDS, b""))[-1] == CONTINUE
    assert house.figures()["policyd_milter_nameless_total"] == 3
    assert house.figures()['policyd_keys{limit="bulk"}'] == 0


def test_figures(house: Metered) -> None:
    wire = Wire(house)
    for number, text in enumerate((WORDS, WORDS, "Hello")):
        wire.tell(shown(text, b"Q%d" % number, b"<r%d@ext.example>" % number))
    figures = house.figures()
    assert figures["policyd_milter_connections"] == 1
    assert figures['policyd_milter_messages_total{kind="sketch"}'] == 2
    assert figures['policyd_milter_messages_total{kind="exact"}'] == 1
    assert figures['policyd_milter_messages_total{kind="unknown"}'] == 0
    assert figures['policyd_milter_answers_total{answer="DUNNO"}'] == 2
    assert figures['policyd_milter_answers_total{answer="REJECT"}'] == 1
    assert figures["policyd_milter_seconds_total"] > 0
    wire.lose()
    assert house.figures()["policyd_milter_connections"] == 0


def test_boilerplate_says_nothing_and_is_read_again(tmp_path: Path) -> None:
    house = watched(tmp_path, rules())
    wire = Wire(house)
    letters = "bcdfghklmnprstvw"
    disclaimer = " ".join(f"{a}o{b}a" for a in letters for b in letters[:5])
    assert wire.tell(shown(f"{WORDS} {disclaimer}", b"Q1"))[-1] == CONTINUE
    refused = wire.tell(shown(f"{OTHER} {disclaimer}", b"Q2", b"<b@ext.example>"))
    assert refused[-1][0] == b"y"
    likeness = replace(BY_CONTENT, boilerplate=disclaimer)
    house.engine.obey(replace(rules(), likeness=likeness), house.now())
    assert wire.tell(shown(f"{OTHER} {disclaimer}", b"Q3", b"<b@ext.example>"))[-1] == CONTINUE


def test_held_mail_is_held_and_routes_are_left_out(tmp_path: Path) -> None:
    held = policy(limit(max=0, action=Action("HOLD", ""), text="Held"), likeness=BY_CONTENT)
    house = watched(tmp_path, held)
    wire = Wire(house)
    said = wire.tell(shown(WORDS, b"Q1", b"<@relay.example:u@local.example>"))
    assert said == [CONTINUE, CONTINUE]  # a user of our own
    said = wire.tell(shown(WORDS, b"Q2", b"<@local.example:a@ext.example>"))
    assert said == [CONTINUE, (b"q", b"Held\0"), CONTINUE]


def test_a_long_subject_is_cut_in_the_log_and_cannot_forge_a_line(tmp_path: Path) -> None:
    house = watched(tmp_path, policy(limit(max=0, strike=True), likeness=BY_CONTENT))
    subject = 'x"\r\nevent=forged ' + "y" * 300
    Wire(house).tell(shown(WORDS, b"Q1", subject=subject))
    (line,) = [fields for fields in house.lines.fields if fields["event"] == "refused"]
    assert line["subject"] == ('x"  event=forged ' + "y" * 300)[:100]


def test_without_a_subject_the_log_says_nothing_of_it(tmp_path: Path) -> None:
    house = watched(tmp_path, policy(limit(max=0), likeness=BY_CONTENT))
    Wire(house).tell(shown(WORDS, b"Q1", subject=""))
    (line,) = [fields for fields in house.lines.fields if fields["event"] == "refused"]
    assert "subject" not in line
