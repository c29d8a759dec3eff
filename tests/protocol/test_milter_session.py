"""Messages put together from what Postfix shows a milter."""

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from protocol.packets import (
    ABORT,
    ALL_STEPS,
    QUIT,
    connect,
    content,
    envelope,
    macros,
    offer,
    packet,
    replies,
    texts,
)

from policyd.protocol.milter import Changes, EndOfMessage, MilterParser, Steps
from policyd.protocol.milter_reply import CONTINUE, Answer
from policyd.protocol.milter_session import (
    MOST_CONTENT,
    MOST_RECIPIENTS,
    MilterMessage,
    MilterSession,
)
from policyd.protocol.reply import Verdict


class Kept:
    """A sink that keeps what it gets."""

    def __init__(self) -> None:
        self.headers: list[tuple[bytes, bytes]] = []
        self.bytes = b""

    def header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name, value))

    def body(self, data: bytes) -> None:
        self.bytes += data

    @property
    def length(self) -> int:
        return len(self.bytes) + sum(len(name) + len(value) for name, value in self.headers)


class Wire:
    """A session, and what it is told by bytes."""

    def __init__(self, answer: Answer = Answer()) -> None:  # noqa: B008 - it never changes
        self.messages: list[MilterMessage[Kept]] = []
        self.answer = answer
        self.told: list[str] = []
        self.session = MilterSession(
            Kept,
            self._decide,
            lambda name: self.told.append(f"expect {name}"),
            lambda name: self.told.append(f"drop {name}"),
        )
        self._parser = MilterParser()

    def _decide(self, message: MilterMessage[Kept]) -> Answer:
        self.messages.append(message)
        return self.answer

    def tell(self, *data: bytes) -> bytes:
        """Return all replies to *data*."""
        events = self._parser.feed(b"".join(data))
        assert self._parser.error is None
        return b"".join(map(self.session.take, events))

    def message(self) -> MilterMessage[Kept]:
        (message,) = self.messages
        return message


def begun(answer: Answer = Answer()) -> Wire:  # noqa: B008 - it never changes
    """Return a session that has agreed with Postfix on all it wants."""
    wire = Wire(answer)
    wire.tell(offer(), connect())
    return wire


def test_what_is_agreed_upon() -> None:
    ((command, data),) = replies(Wire().tell(offer()))
    version, changes, steps = struct.unpack("!III", data)
    assert (command, version) == (b"O", 6)
    assert changes == Changes.ADD_HEADERS | Changes.QUARANTINE
    assert steps == sum(Steps) & ~Steps.SILENT_DATA == 0xEF1C2
    # by the reply to DATA others know which message comes
    assert not steps & 0x200 | steps & 0x10000
    # the envelope and the content are wanted
    assert not steps & 0x1 | steps & 0x4 | steps & 0x8 | steps & 0x10 | steps & 0x20


def test_no_more_is_agreed_upon_than_is_offered() -> None:
    assert replies(Wire().tell(offer(2, 0x1F, 0x7F))) == [(b"O", struct.pack("!III", 2, 1, 0x42))]
    assert replies(Wire().tell(offer(9, 0, 0))) == [(b"O", struct.pack("!III", 6, 0, 0))]


def test_a_message() -> None:
    wire = begun()
    names = (b"<a@ext.example>", b"<b@ext.example>")
    said = wire.tell(envelope(recipients=names), content(b"hello\r\n", Subject=b"one\n two"))

    assert said == CONTINUE  # and nothing before the end
    message = wire.message()
    assert message.client_address == "192.0.2.7"
    assert (message.sasl_username, message.sasl_method) == ("alice", "PLAIN")
    assert message.sender == "alice@mail.example"
    assert message.recipients == ["a@ext.example", "b@ext.example"]
    assert message.recipient_count == 2
    assert message.queue_id == "Q1"
    assert message.size == len(b"Subject: one\n two\r\nhello\r\n")
    assert message.content.headers == [(b"Subject", b"one\n two")]
    assert message.content.bytes == b"hello\r\n"


def test_where_silence_is_not_agreed_upon_there_is_a_reply_to_each_step() -> None:
    wire = Wire()
    wire.tell(offer(2, 0x1F, 0x7F))
    for step in (
        *(connect(), texts(b"H", b"x"), texts(b"M", b"<>"), texts(b"R", b"<a>"), packet(b"T")),
        *(texts(b"L", b"a", b"b"), packet(b"N"), packet(b"B", b"x"), texts(b"U", b"X")),
        packet(b"E"),
    ):
        assert wire.tell(step) == CONTINUE
    for step in (macros(b"R", b"i", b"Q"), ABORT, packet(b"K"), QUIT):
        assert wire.tell(step) == b""


def test_a_refusal_is_what_was_decided() -> None:
    wire = begun(Answer(Verdict("REJECT", "5.7.1", "no")))
    assert replies(wire.tell(envelope(), content())) == [(b"y", b"554 5.7.1 no\0")]


def test_messages_after_one_another_share_nothing_but_the_client() -> None:
    wire = begun()
    wire.tell(envelope(b"Q1", b"alice"), content(b"one", Subject=b"x"), ABORT)
    wire.tell(texts(b"M", b"<>"), texts(b"R", b"<b@x>"), content(b"two"), ABORT)

    first, second = wire.messages
    assert first.queue_id == "Q1"
    assert (second.queue_id, second.sasl_username, second.sender) == ("", "", "")
    assert second.client_address == first.client_address == "192.0.2.7"
    assert second.recipients == ["b@x"]
    assert (second.content.headers, second.content.bytes) == ([], b"two")


@pytest.mark.parametrize("at", [b"R", b"T", b"L", b"N", b"B", b"E"])
def test_the_name_in_the_queue_may_come_at_any_step(at: bytes) -> None:
    wire = begun()
    wire.tell(texts(b"M", b"<>"), macros(at, b"{x}", b"y", b"i", b"Q7"), macros(b"E"), content())
    assert wire.message().queue_id == "Q7"


def test_an_abort_forgets_the_message() -> None:
    wire = begun()
    wire.tell(envelope(recipients=[b"<a@x>"]), ABORT)
    assert wire.tell(content()) == CONTINUE
    assert wire.messages == []


def test_an_end_without_a_beginning_passes() -> None:
    wire = Wire()
    assert wire.tell(packet(b"E")) == CONTINUE
    assert wire.messages == []


def test_the_end_may_bring_the_last_piece() -> None:
    wire = begun()
    wire.tell(envelope(), packet(b"B", b"one"), packet(b"E", b"two"))
    assert wire.message().content.bytes == b"onetwo"


def test_the_session_is_over_when_postfix_says_so() -> None:
    wire = begun()
    wire.tell(envelope(), content())
    assert not wire.session.is_over
    wire.tell(QUIT)
    assert wire.session.is_over


def test_another_client_on_the_same_connection() -> None:
    wire = begun()
    wire.tell(envelope(), packet(b"K"))
    assert wire.tell(content()) == CONTINUE
    wire.tell(texts(b"M", b"<>"), content())
    wire.tell(connect(b"192.0.2.8"), texts(b"M", b"<>"), content())
    assert [message.client_address for message in wire.messages] == ["", "192.0.2.8"]


def test_names_in_any_charset_survive() -> None:
    wire = begun()
    name = "müller".encode("latin-1")
    wire.tell(envelope(name, name, b"<" + name + b"@x>", [name, "用户@x".encode()]), content())
    message = wire.message()
    for text in (message.queue_id, message.sasl_username, message.recipients[0]):
        assert text.encode("utf-8", "surrogateescape") == name
    assert message.sender.encode("utf-8", "surrogateescape") == name + b"@x"
    assert message.recipients[1] == "用户@x"


@given(
    st.lists(
        st.tuples(st.binary(max_size=40_000), st.integers(1, 4)).map(lambda one: one[0] * one[1]),
        max_size=5,
    ),
    st.lists(st.integers(0, 200_000), max_size=4),
)
@settings(deadline=None, max_examples=30)
def test_the_sink_gets_the_beginning_and_no_more(values: list[bytes], sizes: list[int]) -> None:
    wire = begun()
    headers = [(b"X%d" % number, value.replace(b"\0", b"")) for number, value in enumerate(values)]
    bodies = [bytes([65 + number]) * size for number, size in enumerate(sizes)]
    wire.tell(
        envelope(),
        *(texts(b"L", name, value) for name, value in headers),
        *(packet(b"B", body) for body in bodies),
        packet(b"E"),
    )
    message = wire.message()
    kept = message.content
    assert message.size == sum(map(len, bodies)) + sum(len(n) + len(v) + 4 for n, v in headers)
    assert kept.length <= MOST_CONTENT
    assert b"".join(bodies).startswith(kept.bytes)
    if message.size <= MOST_CONTENT:
        assert (kept.headers, kept.bytes) == (headers, b"".join(bodies))
    else:
        # but for the separators of headers, and the header in which the room ends
        assert kept.length >= MOST_CONTENT - 4 * len(headers)


def test_a_header_that_fills_the_room_is_cut() -> None:
    wire = begun()
    long = bytes([120]) * (MOST_CONTENT + 5)
    wire.tell(envelope(), texts(b"L", b"X-A", long), texts(b"L", b"X-B", b"y"), content(b"z"))
    message = wire.message()
    assert message.content.headers == [(b"X-A", long[: MOST_CONTENT - 3])]
    assert message.content.bytes == b""
    assert message.size == MOST_CONTENT + 5 + 7 + 8 + 1


def test_a_body_that_fills_the_room_is_cut() -> None:
    wire = begun()
    wire.tell(envelope(), packet(b"B", b"x" * (MOST_CONTENT - 2)), packet(b"B", b"abc"), content())
    message = wire.message()
    assert len(message.content.bytes) == MOST_CONTENT
    assert message.content.bytes.endswith(b"xab")
    assert message.size == MOST_CONTENT + 1 + len(b"hello\r\n")


def test_more_recipients_than_are_kept_are_counted() -> None:
    wire = begun()
    wire.tell(envelope(recipients=[b"<a@x>"] * (MOST_RECIPIENTS + 2)), content())
    assert len(wire.message().recipients) == MOST_RECIPIENTS
    assert wire.message().recipient_count == MOST_RECIPIENTS + 2


class Broken(Kept):
    """A sink with a fault."""

    def body(self, data: bytes) -> None:
        raise RuntimeError(data)


def test_a_message_that_was_given_up_passes_and_is_not_decided() -> None:
    decided: list[object] = []

    def decide(message: MilterMessage[Broken]) -> Answer:
        decided.append(message)
        return Answer(Verdict("REJECT"))

    session = MilterSession(Broken, decide)
    parser = MilterParser()
    said = []
    for event in parser.feed(offer() + envelope() + content() + envelope() + packet(b"E")):
        try:
            said.append(session.take(event))
        except RuntimeError:
            assert session.queue_id == "Q1"
            said.append(session.give_up(event))
    assert [command for command, _ in replies(b"".join(said))] == [b"O", b"c", b"y"]
    assert len(decided) == 1


@given(
    st.lists(
        st.one_of(
            st.sampled_from(
                [offer(), offer(2, 0, 0), connect(), envelope(), content(), ABORT, QUIT]
            ),
            st.builds(texts, st.sampled_from([b"M", b"R", b"H", b"U"]), st.binary(max_size=9)),
            st.builds(packet, st.sampled_from([b"T", b"N", b"B", b"E", b"K"])),
            st.builds(macros, st.sampled_from([b"M", b"E"]), st.just(b"i"), st.just(b"\xff")),
        )
    )
)
def test_no_order_of_events_raises(data: list[bytes]) -> None:
    parser, session = MilterParser(), MilterSession(Kept, lambda _: Answer())
    for event in parser.feed(b"".join(data)):
        session.take(event)


def test_what_a_postfix_of_today_offers_has_all_that_is_wanted() -> None:
    assert sum(Steps) & ALL_STEPS == sum(Steps)


# who else is told of a message

DATA = packet(b"T")


def test_a_message_is_announced_at_data_and_postfix_waits_for_it() -> None:
    wire = begun()
    assert wire.tell(envelope(), DATA) == CONTINUE
    assert wire.told == ["expect Q1"]
    wire.tell(content())
    assert wire.told == ["expect Q1"]  # who decides knows that it is over
    wire.tell(ABORT)
    assert wire.told == ["expect Q1"]


@pytest.mark.parametrize("end", [ABORT, QUIT, envelope(b"Q2")])
def test_a_message_that_comes_to_nothing_is_dropped(end: bytes) -> None:
    wire = begun()
    wire.tell(envelope(), DATA, end)
    assert wire.told == ["expect Q1", "drop Q1"]


def test_a_message_that_is_given_up_or_left_is_dropped_once() -> None:
    wire = begun()
    wire.tell(envelope(), DATA)
    wire.session.give_up(EndOfMessage(b""))
    wire.session.let_go()
    assert wire.told == ["expect Q1", "drop Q1"]


def test_nobody_is_told_of_a_message_without_a_name() -> None:
    wire = begun()
    wire.tell(envelope(b""), DATA, content(), envelope(b""), ABORT)
    assert wire.told == []
