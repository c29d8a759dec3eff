"""The acceptable-use policy's story where content is seen: a campaign in ever other words."""

import random
from collections.abc import Iterator
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import SMTP

import pytest
from content.variants import VARIANTS, Draw, Text
from content.variants import mail as written

from .content import show_content
from .daemon import Daemon
from .ladder import ADMINISTRATOR, facts, shipped_in_force
from .mail_system import MailSystem
from .rules import ALICE, BOB
from .servers import Servers, serving
from .smtp import Reply, Session
from .snippets import replace_once

MOST = 249
CAMPAIGN, OTHERS = 400, 100
SUBJECT = "Nur heute: 20 % für Sie"
WAYS = (
    *("same", "greeting and name", "mail merge", "hash-buster 10 %", "hash-buster 30 %"),
    *("5 % of words swapped", "paragraphs shuffled", "other figures", "another signature"),
)
"""What a sender does who does not want to be found; each alone is found every time."""

FORMS = ("8bit", "quoted-printable", "base64", "html", "both")


def vocabulary() -> list[str]:
    """Return words of no language."""
    dice = random.Random(7)
    syllables = [a + b for a in "bcdfghklmnprstvw" for b in ("a", "e", "i", "o", "u", "ei", "au")]
    return ["".join(dice.choices(syllables, k=dice.randint(1, 4))) for _ in range(3000)]


VOCABULARY = vocabulary()


def text(name: str, words: int = 180) -> Text:
    """Return a text of its own for each *name*."""
    drawn = Draw(name, VOCABULARY).words(words)
    return [drawn[at : at + 45] for at in range(0, words, 45)]


def in_some_form(found: Text, draw: Draw, number: int, subject: str = SUBJECT) -> bytes:
    """Return *found* as a mail whose form changes with the *number*; some have attachments."""
    data = written(found, draw, subject, FORMS[number % len(FORMS)])
    if number % 7 == 0:
        made = message_from_bytes(data, _class=EmailMessage, policy=SMTP)
        made.make_mixed()
        attached = draw.random.randbytes(600)
        made.add_attachment(attached, maintype="application", subtype="pdf", filename="a.pdf")
        data = made.as_bytes()
    return data.replace(b"\r\n.", b"\r\n..")


def campaign(number: int) -> bytes:
    """Return the mail of that *number* of a mailing that hides."""
    draw = Draw(f"campaign {number}", VOCABULARY)
    changed = VARIANTS[WAYS[number % len(WAYS)]](text("campaign"), draw)
    return in_some_form(changed, draw, number)


def other(number: int) -> bytes:
    """Return a mail of that *number* that nobody else gets."""
    draw = Draw(f"other {number}", VOCABULARY)
    return in_some_form(text(f"other {number}"), draw, number, f"About {number}")


@pytest.fixture(scope="module")
def mail_servers(mail_servers: Servers) -> Iterator[Servers]:
    assert mail_servers  # or there is a reason why there is no Postfix
    with serving(("content",), show_content) as servers:
        yield servers


@pytest.fixture
def daemon(mail: MailSystem) -> Daemon:
    """A daemon with the rules that we ship, in force, by content."""
    rules = shipped_in_force(mail.ports["reinjection"])
    by_content = replace_once(rules, "  by: size\n", "  by: content\n")
    return mail.policyd(by_content, sees_content=True)


class Sender:
    """Sends one mail after another, in a new session where one was ended."""

    def __init__(self, mail: MailSystem, user: str = ALICE, listener: str = "submission") -> None:
        self._where = mail, user, listener
        self._user = user
        self._session: Session | None = None

    def send(self, recipient: str, content: bytes) -> Reply:
        mail, user, listener = self._where
        if self._session is None or self._session.over:
            self._session = mail.submit(user, listener)
        mailing = self._session.send(self._user, [recipient], content)
        assert mailing.end is not None, mailing
        return mailing.end


def sent(sender: Sender, numbers: range) -> list[Reply]:
    return [sender.send(f"reader{n}@list{n % 7}.example", campaign(n)) for n in numbers]


def check_refusal(reply: Reply, daemon: Daemon, used: int = MOST + 1) -> str:
    """Check what a mail of the campaign is told; return the incident."""
    assert reply.code == 554
    first, second, third, last = reply.text.split("\n")
    assert first == "5.7.1 Bulk mail is not permitted here"
    assert second == "5.7.1 see https://mail.example/aup"
    assert third == f"5.7.1 {used} of {MOST} external recipients in 24 hours"
    (opened,) = daemon.events("incident-opened", account=ALICE, limit="bulk", observed="0")
    assert last == f"5.7.1 incident {opened['incident']}"
    return opened["incident"]


def test_a_campaign_is_refused_whatever_its_words_and_nothing_else_is(
    mail: MailSystem, daemon: Daemon
) -> None:
    alice, bob = Sender(mail), Sender(mail, BOB)
    order = [("campaign", n) for n in range(CAMPAIGN)] + [("other", n) for n in range(OTHERS)]
    random.Random(3).shuffle(order)
    replies: dict[str, list[Reply]] = {"campaign": [], "other": [], "bob": []}

    for at, (kind, number) in enumerate(order):
        if kind == "campaign":
            content, recipient = campaign(number), f"reader{number}@list{number % 7}.example"
        else:
            content, recipient = other(number), f"friend{number}@ext.example"
        replies[kind].append(alice.send(recipient, content))
        if at % 20 == 0:
            replies["bob"].append(bob.send(f"reader{at}@list.example", campaign(CAMPAIGN + at)))

    # from the 250th recipient on, and only they
    assert [reply.passed for reply in replies["campaign"]] == [n < MOST for n in range(CAMPAIGN)]
    assert all(reply.passed for reply in replies["other"] + replies["bob"])
    incident = check_refusal(replies["campaign"][MOST], daemon)
    check_refusal(replies["campaign"][-1], daemon)

    # what it was about is known to all who are to do something
    shown = daemon.administer("incident", incident)["incident"]
    assert shown["sample"]["subject"] == SUBJECT
    assert shown["messages"] == shown["recipients"] == CAMPAIGN - MOST
    line = daemon.refusals()[0]
    told = {"stage": "CONTENT", "limit": "bulk", "subject": SUBJECT, "account": ALICE}
    assert told.items() <= line.items()
    daemon.wait_for("notice-sent", notice=f"incident {incident}")
    notices = [one.mail.get_content() for one in mail.mailbox(ADMINISTRATOR)]
    (notice,) = [one for one in notices if incident in one]  # and not the early one
    assert facts(notice)["Subject"] == SUBJECT

    delivered = mail.delivered()
    assert sum(n for name, n in delivered.items() if name.startswith("reader")) == MOST + len(
        replies["bob"]
    )
    assert sum(n for name, n in delivered.items() if name.startswith("friend")) == OTHERS


def test_without_the_policy_service_the_milter_refuses_as_well(
    mail: MailSystem, daemon: Daemon
) -> None:
    replies = sent(Sender(mail, ALICE, "content"), range(MOST + 3))

    assert [reply.passed for reply in replies] == [n < MOST for n in range(MOST + 3)]
    check_refusal(replies[-1], daemon)
    assert not [line for line in daemon.requests() if line["stage"] != "CONTENT"]


def test_a_message_is_decided_and_counted_once(mail: MailSystem, daemon: Daemon) -> None:
    assert sent(Sender(mail), range(1))[0].passed

    stages = [(line["stage"], line["limits"]) for line in daemon.requests()]
    assert [stage for stage, _ in stages] == ["RCPT", "END-OF-MESSAGE", "CONTENT"]
    assert stages[1][1] == ""
    assert "bulk=0+0+1/249" in stages[2][1]
    assert daemon.usage()["burst"] == 1


def test_content_in_chunks_is_seen_as_well(mail: MailSystem, daemon: Daemon) -> None:
    session = mail.submit()
    for number in range(2):
        session.envelope(ALICE, [f"reader{number}@ext.example"])
        for chunk, last in ((campaign(number), ""), (b"P.S.\r\n", " LAST")):
            session.write(b"BDAT %d%b\r\n%b" % (len(chunk), last.encode(), chunk))
            session.expect(250, session.read())

    stages = [line["stage"] for line in daemon.requests()]
    assert stages == ["RCPT", "END-OF-MESSAGE", "CONTENT"] * 2
    assert "bulk=1+0+1/249" in daemon.requests()[-1]["limits"]


def test_unseen_mail_flows_and_is_told_by_its_size(mail: MailSystem, daemon: Daemon) -> None:
    alice = Sender(mail)
    assert sent(alice, range(2))[-1].passed
    seen = [line["stage"] for line in daemon.requests() if line["stage"] != "RCPT"]
    assert seen == ["END-OF-MESSAGE", "CONTENT"] * 2

    # the milter's connection goes with the daemon, and Postfix does not open another one
    daemon.kill()
    since = daemon.mark()
    daemon.start()
    assert sent(alice, range(2, 4))[-1].passed

    unseen = [line["stage"] for line in daemon.requests(since) if line["stage"] != "RCPT"]
    assert unseen == ["END-OF-MESSAGE"] * 2
    assert daemon.requests()[-1]["limits"].startswith("bulk=")
    # a new session is seen again
    assert sent(Sender(mail), range(4, 5))[0].passed
    assert daemon.requests()[-1]["stage"] == "CONTENT"
