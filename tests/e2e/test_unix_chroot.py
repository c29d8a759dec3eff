"""A UNIX-domain socket and an smtpd in its chroot, as Debian runs it."""

from collections import Counter

from .mail_system import MailSystem
from .rules import ALICE, AUP, LEDGER, bulk_refusal, counted, rule_file
from .smtp import message
from .snippets import entry, master_snippet

A, B = "a@ext.example", "b@ext.example"


def test_the_snippets_socket_is_found_from_within_the_chroot(mail: MailSystem) -> None:
    assert entry(master_snippet(), "submission").split()[4] == "y"
    daemon = mail.policyd(rule_file(LEDGER))

    assert mail.submit(listener="submission_unix").send(ALICE, [A, B], message(300)).passed

    assert daemon.usage() == counted(messages=1, external=2, size=300)
    assert mail.delivered() == Counter([A, B])


def test_refusals_come_over_the_socket_too(mail: MailSystem) -> None:
    mail.policyd(rule_file(AUP))
    recipients = [f"reader{number}@ext.example" for number in range(250)]

    mailing = mail.submit(listener="submission_unix").send(ALICE, recipients, message(3000))

    assert mailing.end.text.endswith(bulk_refusal(250))
    assert mail.delivered() == {}


def test_tcp_and_socket_count_together(mail: MailSystem) -> None:
    daemon = mail.policyd(rule_file(LEDGER))

    assert mail.submit(listener="submission_unix").send(ALICE, [A], message(300)).passed
    assert mail.submit(listener="submission").send(ALICE, [B], message(300)).passed

    assert daemon.usage() == counted(messages=2, external=2, size=600)


def test_an_absolute_name_is_not_found_and_mail_passes_unseen(mail: MailSystem) -> None:
    # the trap that the snippet warns of, in the words it gives
    daemon = mail.policyd(rule_file(LEDGER))
    since = mail.postfix.mark()

    assert mail.submit(listener="submission_absolute").send(ALICE, [A], message(300)).passed

    assert daemon.requests() == []
    mail.postfix.wait_for_log(
        f"connect to {mail.postfix.policy_socket}: No such file or directory", since
    )


def test_a_restarted_daemon_takes_its_socket_over(mail: MailSystem) -> None:
    daemon = mail.policyd(rule_file(LEDGER))
    daemon.kill()  # leaves the socket file behind
    daemon.start()

    assert mail.submit(listener="submission_unix").send(ALICE, [A], message(300)).passed

    assert daemon.usage() == counted(messages=1, external=1, size=300)
