"""A hundred sessions at once want more than there is."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

from .mail_system import MailSystem
from .rules import ALICE, rule_file
from .smtp import Mailing, Session, message
from .waiting import PATIENCE

SESSIONS = 100
EACH = 5
BUDGET = 250
LIMIT = f"""\
  - id: budget
    per: [account]
    count: recipients
    recipients: external
    max: {BUDGET}
    window: 24h
    refuse: """


def mailings_at_once(port: int) -> list[Mailing]:
    """Send a mail in each session; all are in the same step at the same time."""
    together = Barrier(SESSIONS, timeout=2 * PATIENCE)

    def one(number: int) -> Mailing:
        try:
            with Session(port, login=ALICE) as session:
                recipients = [f"r{number}-{place}@ext.example" for place in range(EACH)]
                together.wait()
                envelope = session.envelope(ALICE, recipients)
                together.wait()
                end = session.data(message(300)) if envelope.accepted else None
                return envelope._replace(end=end)
        except BaseException:
            together.abort()
            raise

    with ThreadPoolExecutor(SESSIONS) as threads:
        return list(threads.map(one, range(SESSIONS)))


def test_messages_in_flight_take_exactly_the_budget(mail: MailSystem) -> None:
    daemon = mail.policyd(rule_file(LIMIT + "message"))

    mailings = mailings_at_once(mail.ports["crowd"])

    assert [mailing.accepted for mailing in mailings] == [EACH] * SESSIONS
    assert sum(mailing.passed for mailing in mailings) == BUDGET // EACH
    assert len(daemon.refusals()) == SESSIONS - BUDGET // EACH
    assert mail.delivered().total() == BUDGET
    assert daemon.figures()["budget"][:2] == (BUDGET, 0)


def test_recipients_in_flight_take_exactly_the_budget(mail: MailSystem) -> None:
    daemon = mail.policyd(rule_file(LIMIT + "recipient"))

    mailings = mailings_at_once(mail.ports["crowd"])

    assert sum(mailing.accepted for mailing in mailings) == BUDGET
    assert [mailing.passed for mailing in mailings] == [
        mailing.accepted > 0 for mailing in mailings
    ]
    assert len(daemon.refusals()) == SESSIONS * EACH - BUDGET
    assert mail.delivered().total() == BUDGET
    assert daemon.figures()["budget"][:2] == (BUDGET, 0)
