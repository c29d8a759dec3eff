"""The milter behind a real Postfix: what it is shown, when, and what its answers come to."""

import json
from collections.abc import Iterator

import pytest

from .content import PORTS, Milter, add_milters
from .dovecot import PASSWORD
from .postfix import PrivatePostfix
from .rules import ALICE
from .servers import Servers, serving
from .sink import Sink
from .smtp import Reply, Session, message
from .waiting import wait_until

A, B = "a@ext.example", "b@ext.example"
AWAY = "192.0.2.7"


class Scene:
    """A Postfix, its *milter*, a *second* one, and the *sink* that all mail ends in."""

    def __init__(self, postfix: PrivatePostfix, sink: Sink) -> None:
        self.postfix = postfix
        self.sink = sink
        ports = postfix.ports
        socket = postfix.policy_socket.with_name("milter")
        self.milter = Milter("X-Answer", ports["policy"], socket, ports["milter"])
        self.second = Milter("X-Second", 0, ports["second"])
        self._sessions: list[Session] = []

    def connect(self, listener: str = "content", login: str = ALICE, address: str = "") -> Session:
        session = Session(self.postfix.ports[listener], login=login, address=address)
        self._sessions.append(session)
        return session

    def delivered(self) -> list[tuple[str, ...]]:
        """Return the recipients of each mail that came through, which is in no order."""
        self.postfix.drain()
        return sorted(mail.recipients for mail in self.sink.deliveries)

    def close(self) -> None:
        for session in self._sessions:
            session.close()
        self.milter.kill()
        self.second.kill()
        self.postfix.drain()
        self.postfix.empty()
        self.sink.clear()
        print(*(json.dumps(line)[:300] for line in self.milter.lines[-60:]), sep="\n")


@pytest.fixture(scope="module")
def mail_servers(mail_servers: Servers) -> Iterator[Servers]:
    assert mail_servers  # or there is a reason why there is no Postfix
    with serving(PORTS, add_milters) as servers:
        yield servers


@pytest.fixture
def scene(mail_servers: Servers) -> Iterator[Scene]:
    scene = Scene(*mail_servers)
    try:
        scene.milter.start()
        yield scene
    finally:
        scene.close()


def asking(verb: str, status: str = "", text: str = "", *headers: tuple[str, str]) -> bytes:
    """Return a message that tells the milter what to answer."""
    wanted = {"verdict": [verb, status, text], "headers": headers}
    return b"X-Answer: %s\r\n%s" % (json.dumps(wanted).encode(), message(300))


def refused(scene: Scene, verb: str, status: str, text: str) -> Reply:
    end = scene.connect().send(ALICE, [A], asking(verb, status, text)).end
    assert end is not None
    return end


# what it is shown, and when


def test_the_policy_service_is_asked_first_and_then_the_content_is_shown(scene: Scene) -> None:
    assert scene.connect().send(ALICE, [A, B], message(300)).passed

    steps = scene.milter.steps()
    # Postfix writes what it wants no reply to when its buffer is full, or when it waits for a
    # client; so what happens at RCPT has no order here
    assert steps[-4:] == ["policy END-OF-MESSAGE", "Header", "Body", "EndOfMessage"]
    assert {"policy RCPT", "Mail", "Rcpt"} <= set(steps[:-4])
    # what is not wanted is not told
    assert not {"Helo", "END_OF_HEADERS"} & set(steps)


def test_what_both_are_told_has_one_name(scene: Scene) -> None:
    session = scene.connect()
    assert session.send(ALICE, [A, B], message(300)).passed
    assert session.send(ALICE, [A], message(400)).passed

    ends = [line for line in scene.milter.told("policy") if line["policy"] == "END-OF-MESSAGE"]
    first, second = scene.milter.messages(2)
    assert [line["queue_id"] for line in ends] == [first["message"], second["message"]]
    assert first["message"] != second["message"]
    for shown in (first, second):
        assert shown["sender"] == ALICE
        assert shown["sasl_username"] == ALICE
        assert shown["sasl_method"] == "XCLIENT"
        assert shown["client_address"] == "127.0.0.1"
    assert [first["recipients"], second["recipients"]] == [[A, B], [A]]


def test_a_login_with_a_password(scene: Scene) -> None:
    port = scene.postfix.ports["submission"]
    with Session(port, tls="starttls", user=ALICE, password=PASSWORD) as session:
        assert session.send(ALICE, [A], message(300)).passed

    shown = scene.milter.message()
    assert (shown["sasl_username"], shown["sasl_method"]) == (ALICE, "PLAIN")


def test_the_content_comes_as_it_was_sent(scene: Scene) -> None:
    content = b"Subject: one\r\n two\r\nX-Empty:\r\n\r\nline\r\n..dot\r\n"
    assert scene.connect(address=AWAY).send(ALICE, [A], content).passed

    shown = scene.milter.message()
    assert shown["client_address"] == AWAY
    assert shown["headers"] == [["Subject", "one\n two"], ["X-Empty", ""]]
    assert shown["body"] == "line\r\n.dot\r\n"


def test_what_postfix_adds_for_its_own_machine_is_shown_too(scene: Scene) -> None:
    # so whoever compares content has to leave these out
    assert scene.connect("plain").send(ALICE, [A], message(300)).passed

    names = [name for name, _ in scene.milter.message()["headers"]]
    assert names == ["Subject", "Message-Id", "Date", "From"]


def test_recipients_that_are_refused_are_not_shown(scene: Scene) -> None:
    names = [A, "refused@later.example", "nobody@local.test", B]
    assert scene.connect("later").send(ALICE, names, message(300)).accepted == 2

    assert scene.milter.message()["recipients"] == [A, B]


def test_a_thousand_recipients(scene: Scene) -> None:
    names = [f"reader{number}@ext.example" for number in range(1000)]
    assert scene.connect().send(ALICE, names, message(300)).passed

    shown = scene.milter.message()
    assert shown["recipients"] == names
    assert shown["recipient_count"] == 1000


def test_an_address_is_shown_as_it_was_typed(scene: Scene) -> None:
    names = ['"a b"@ext.example', "@relay.example:c@ext.example", "D@EXT.example"]
    assert scene.connect().send("", names, message(300)).passed

    shown = scene.milter.message()
    assert shown["sender"] == ""
    assert shown["recipients"] == names


def test_names_beyond_ascii(scene: Scene) -> None:
    session = scene.connect(login="m+C3+BCller@sender.example", address=AWAY)
    names = ["用户@例え.example", "info@bücher.example"]
    assert session.send("josé@sender.example", names, message(300), options=" SMTPUTF8").passed
    content = "Subject: Grüße\r\n\r\n".encode() + b"caf\xe9 \xff\r\n"
    assert session.send(ALICE, [A], content, options=" BODY=8BITMIME").passed

    first, second = scene.milter.messages(2)
    assert (first["sender"], first["recipients"]) == ("josé@sender.example", names)
    assert first["sasl_username"] == "müller@sender.example"
    assert second["headers"] == [["Subject", "Grüße"]]
    assert second["body"] == "caf\\xe9 \\xff\r\n"


def test_nul_bytes_and_bare_newlines(scene: Scene) -> None:
    content = b"Subject: a\0b\r\nX-Bare: c\nX-Next: d\r\n\r\none\0two\nthree\r\n"
    assert scene.connect(address=AWAY).send(ALICE, [A], content).passed

    shown = scene.milter.message()
    assert shown["headers"] == [["Subject", "a"], ["X-Bare", "c"], ["X-Next", "d"]]
    assert shown["body"] == "one\0two\r\nthree\r\n"


def test_bdat(scene: Scene) -> None:
    content = asking("REJECT", "5.7.1", "not this")
    session = scene.connect()
    session.envelope(ALICE, [A])
    half, left = content[:100], content[100:]
    session.write(b"BDAT %d\r\n%s" % (len(half), half))
    session.expect(250, session.read())
    session.write(b"BDAT %d LAST\r\n%s" % (len(left), left))

    assert str(session.read()) == "554 5.7.1 not this"
    assert session.send(ALICE, [A], message(300)).passed


def test_a_message_of_10_mb_is_not_kept(scene: Scene) -> None:
    session = scene.connect()
    assert session.send(ALICE, [A], message(300)).passed
    before = scene.milter.message()["memory"]
    assert session.send(ALICE, [A], message(10_000_000)).passed

    shown = scene.milter.messages(2)[1]
    assert shown["size"] > 9_900_000
    assert 250_000 < shown["body_size"] <= 256 * 1024
    assert shown["memory"] - before < 5_000  # KiB


def test_sendmail_is_seen_by_the_milter_of_cleanup(scene: Scene) -> None:
    scene.postfix.sendmail(ALICE, A, b"Subject: local\n\nhello\n")

    shown = scene.milter.message()
    assert scene.delivered() == [(A,)]
    assert (shown["sender"], shown["recipients"]) == (ALICE, [A])
    assert (shown["sasl_username"], shown["client_address"]) == ("", "127.0.0.1")
    assert shown["message"]
    assert ["Subject", "local"] in shown["headers"]


# what its answers come to


@pytest.mark.parametrize(
    ("verb", "status", "text", "said"),
    [
        ("REJECT", "", "Not this", "554 5.7.1 Not this"),
        ("DEFER", "4.7.1", "Later", "450 4.7.1 Later"),
        ("550", "5.7.0", "100% of %s and %d are %%", "550 5.7.0 100% of %s and %d are %%"),
        ("REJECT", "5.7.1", "one\ntwo\nthree", "554 5.7.1 one\n5.7.1 two\n5.7.1 three"),
        ("REJECT", "5.7.1", "für \0\r\n \n<b>", "554 5.7.1 fur\n5.7.1 <b>"),
    ],
)
def test_a_refusal_in_its_own_words(
    scene: Scene, verb: str, status: str, text: str, said: str
) -> None:
    assert str(refused(scene, verb, status, text)) == said
    assert scene.delivered() == []


def test_the_longest_refusal_arrives_whole(scene: Scene) -> None:
    lines = [f"{number} " + "x" * 440 for number in range(20)]
    end = refused(scene, "REJECT", "5.7.1", "\n".join(lines))
    assert end.text == "\n".join(f"5.7.1 {line}" for line in lines)


def test_after_a_refusal_the_next_message_begins_anew(scene: Scene) -> None:
    session = scene.connect()
    session.expect(554, session.send(ALICE, [A], asking("REJECT")).end or Reply(0, ""))
    assert session.send(ALICE, [B], message(300)).passed

    assert [shown["recipients"] for shown in scene.milter.messages(2)] == [[A], [B]]
    assert scene.delivered() == [(B,)]


def test_codes_that_end_the_session(scene: Scene) -> None:
    for code in ("421", "521"):
        session = scene.connect()
        end = session.send(ALICE, [A], asking(code, "", "bye")).end
        assert str(end) == f"{code} {code[0]}.7.1 bye"
    assert scene.delivered() == []


def test_held(scene: Scene) -> None:
    assert scene.connect().send(ALICE, [A], asking("HOLD", "", "look at this")).passed

    (held,) = scene.postfix.held()
    assert held.name == scene.milter.message()["message"]
    assert scene.delivered() == []


def test_headers_are_added(scene: Scene) -> None:
    content = asking("DUNNO", "", "", ("X-Score", "7% ü"), ("X-Group", "K7M4XQ2"))
    assert scene.connect().send(ALICE, [A], content).passed

    scene.postfix.drain()
    (mail,) = scene.sink.deliveries
    assert mail.mail["X-Score"] == "7% u"
    assert mail.mail["X-Group"] == "K7M4XQ2"


def test_a_fault_of_ours_lets_mail_pass(scene: Scene) -> None:
    session = scene.connect()
    assert session.send(ALICE, [A], b"X-Answer: crash\r\n" + message(300)).passed
    assert session.send(ALICE, [B], message(300)).passed

    shown, _ = scene.milter.messages(2)
    assert f"milter {shown['message']}" in scene.milter.logged()
    assert "as it was told" in scene.milter.logged()
    assert scene.delivered() == [(A,), (B,)]


# what ends early


def test_what_the_policy_service_refuses_has_no_content(scene: Scene) -> None:
    session = scene.connect()
    since = len(scene.milter.lines)
    mailing = session.send("refused@sender.example", [A], message(300))
    assert str(mailing.end) == "554 5.7.1 <END-OF-MESSAGE>: End-of-data rejected: No"
    # a Postfix of this age does not begin anew by itself after that
    session.expect(250, session.command("RSET"))
    assert session.send(ALICE, [B], message(300)).passed

    assert scene.milter.message()["recipients"] == [B]
    steps = scene.milter.steps(since)
    refused = steps.index("policy END-OF-MESSAGE")
    begun = steps.index("Mail", refused)
    assert "ABORT" in steps[refused:begun]
    assert not {"Header", "Body", "EndOfMessage"} & set(steps[:begun])


def test_a_reset_begins_anew(scene: Scene) -> None:
    session = scene.connect()
    session.envelope("bob@sender.example", [A])
    session.expect(250, session.command("RSET"))
    assert session.send(ALICE, [B], message(300)).passed

    shown = scene.milter.message()
    assert (shown["sender"], shown["recipients"]) == (ALICE, [B])


def test_a_client_that_breaks_off(scene: Scene) -> None:
    session = scene.connect()
    session.envelope(ALICE, [A])
    session.expect(354, session.command("DATA"))
    session.write(b"Subject: half\r\n\r\nhalf a mes")
    session.close()

    assert scene.connect().send(ALICE, [B], message(300)).passed
    assert scene.milter.message()["recipients"] == [B]


# without it


def test_mail_flows_when_the_milter_is_away(scene: Scene) -> None:
    scene.milter.kill()
    scene.milter = Milter("X-Answer", scene.postfix.ports["policy"])
    scene.milter.start()  # the policy service alone
    assert scene.connect().send(ALICE, [A], message(300)).passed
    assert scene.delivered() == [(A,)]


def test_mail_flows_past_a_milter_that_hangs(scene: Scene) -> None:
    session = scene.connect("hanging")
    session.envelope(ALICE, [A])
    scene.milter.freeze()
    assert session.data(message(300)).passed
    assert scene.connect("hanging").send(ALICE, [B], message(300)).passed
    assert scene.delivered() == [(A,), (B,)]


@pytest.mark.parametrize("when", ["before a message", "in a message", "in the content"])
def test_a_milter_that_dies_and_comes_back(scene: Scene, when: str) -> None:
    session = scene.connect()
    assert session.send(ALICE, [A], message(300)).passed
    if when != "before a message":
        session.envelope(ALICE, [A])
        if when == "in the content":
            session.expect(354, session.command("DATA"))
            session.write(b"Subject: x\r\n\r\n")
    scene.milter.kill()
    scene.milter.start()
    if when == "before a message":
        assert session.send(ALICE, [A], message(300)).passed
    elif when == "in a message":
        assert session.data(message(300)).passed
    else:
        session.write(b".\r\n")
        session.expect(250, session.read())

    # that session went on without it
    assert scene.connect().send(ALICE, [B], message(300)).passed
    assert [shown["recipients"] for shown in scene.milter.messages(2)] == [[A], [B]]


# other wirings


def test_over_tcp(scene: Scene) -> None:
    session = scene.connect("content_tcp")
    assert str(session.send(ALICE, [A], asking("REJECT", "", "no")).end) == "554 5.7.1 no"
    assert session.send(ALICE, [A], message(300)).passed


def test_from_within_the_chroot(scene: Scene) -> None:
    assert scene.connect("chrooted").send(ALICE, [A], message(300)).passed
    assert scene.milter.message()["recipients"] == [A]


def test_an_old_protocol_has_a_reply_at_each_step(scene: Scene) -> None:
    session = scene.connect("old")
    assert str(session.send(ALICE, [A, B], asking("REJECT", "", "no")).end) == "554 5.7.1 no"
    assert session.send(ALICE, [A], message(300)).passed
    first, second = scene.milter.messages(2)
    assert (first["recipients"], second["recipients"]) == ([A, B], [A])
    assert first["sasl_username"] == ALICE


def test_without_the_macros_there_is_no_name_for_it(scene: Scene) -> None:
    assert scene.connect("trimmed").send(ALICE, [A], message(300)).passed
    shown = scene.milter.message()
    assert (shown["message"], shown["sasl_username"]) == ("", "")


@pytest.mark.parametrize("event", ["data", "end_of_header", "end_of_data"])
def test_one_list_of_macros_is_enough_for_the_name(scene: Scene, event: str) -> None:
    assert scene.connect(f"{event}_macros").send(ALICE, [A], message(300)).passed
    assert scene.milter.message()["message"]


def test_another_milter_behind_ours(scene: Scene) -> None:
    scene.second.start()
    session = scene.connect("both")
    no = json.dumps({"verdict": ["REJECT", "", "the second says no"]}).encode()
    ours = json.dumps({"headers": [["X-Score", "7"]]}).encode()
    content = b"X-Answer: %s\r\nX-Second: %s\r\n%s" % (ours, no, message(300))
    assert str(session.send(ALICE, [A], content).end) == "554 5.7.1 the second says no"
    assert ["X-Score", "7"] in scene.second.message()["headers"]

    since = len(scene.second.lines)
    session.expect(554, session.send(ALICE, [A], asking("REJECT")).end or Reply(0, ""))
    assert session.send(ALICE, [B], message(300)).passed
    wait_until(lambda: scene.second.told("message", since), "the second one is shown the next")
    assert scene.second.message(since)["recipients"] == [B]
