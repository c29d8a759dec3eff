"""The rule file that we ship, as it stands and in force."""

from collections import Counter

from .ladder import ADMINISTRATOR, PROVIDER, SHIPPED, facts, shipped_in_force
from .mail_system import MailSystem
from .rules import ALICE, bulk_refusal
from .smtp import message

READERS = [f"reader{number}@ext.example" for number in range(250)]


def test_as_it_stands_it_refuses_nothing_and_says_what_it_would_have(mail: MailSystem) -> None:
    daemon = mail.policyd(SHIPPED.read_text(encoding="utf-8"))

    assert mail.submit().send(ALICE, READERS, message(3000)).passed

    assert "bulk" in {line["limit"] for line in daemon.events("would-refuse")}
    assert daemon.refusals() == []
    assert mail.delivered() == Counter(READERS)


def test_in_force_it_is_the_acceptable_use_policy(mail: MailSystem) -> None:
    daemon = mail.policyd(shipped_in_force(mail.ports["reinjection"]))
    ours = [f"user{number}@local.test" for number in range(50)]

    refused = mail.submit().send(ALICE, READERS, message(3000))
    passed = mail.submit().send(ALICE, READERS[:249] + ours, message(3000))

    assert refused.end.code == 521
    (line,) = daemon.refusals()
    assert refused.end.text.endswith(f"{bulk_refusal(250)}; incident {line['incident']}")
    assert passed.passed
    assert line["limit"] == "bulk"
    # the administrator is told at once that this was nearly all that may pass
    daemon.wait_for("notice-sent", notice=f"warning bulk {ALICE}")
    (delivery,) = mail.mailbox(ADMINISTRATOR)
    early = delivery.mail
    assert early["Subject"] == f"{ALICE} is about to reach a sending limit: Bulk mail"
    assert facts(early.get_content())["Used"] == "249 of 249 in 24 hours (100 %)"
    assert mail.delivered() == Counter([*READERS[:249], *ours, ADMINISTRATOR, PROVIDER])
