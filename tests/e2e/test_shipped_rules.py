"""The rule file that we ship, as it stands and in force."""

from collections import Counter

import pytest

from .daemon import REPOSITORY
from .mail_system import MailSystem
from .rules import ALICE, bulk_refusal
from .smtp import message
from .snippets import replace_once

READERS = [f"reader{number}@ext.example" for number in range(250)]


@pytest.fixture
def shipped() -> str:
    return (REPOSITORY / "etc" / "policyd" / "policy.yaml").read_text(encoding="utf-8")


def test_as_it_stands_it_refuses_nothing_and_says_what_it_would_have(
    mail: MailSystem, shipped: str
) -> None:
    daemon = mail.policyd(shipped)

    assert mail.submit().send(ALICE, READERS, message(3000)).passed

    assert "bulk" in {line["limit"] for line in daemon.events("would-refuse")}
    assert daemon.refusals() == []
    assert mail.delivered() == Counter(READERS)


def test_in_force_it_is_the_acceptable_use_policy(mail: MailSystem, shipped: str) -> None:
    rules = replace_once(shipped, "\nmode: observe\n", "\nmode: enforce\n")
    daemon = mail.policyd(replace_once(rules, "domains: [mail.example]", "domains: [local.test]"))
    ours = [f"user{number}@local.test" for number in range(50)]

    refused = mail.submit().send(ALICE, READERS, message(3000))
    passed = mail.submit().send(ALICE, READERS[:249] + ours, message(3000))

    assert refused.end.code == 521
    (line,) = daemon.refusals()
    assert refused.end.text.endswith(f"{bulk_refusal(250)}; incident {line['incident']}")
    assert passed.passed
    assert line["limit"] == "bulk"
    assert mail.delivered() == Counter(READERS[:249] + ours)
