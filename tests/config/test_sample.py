"""The rule file that is shipped: the acceptable-use policy, with nothing to complain of."""

import re
import shutil
from pathlib import Path

from policyd.aup.ladder_rules import (
    DAY,
    SUSPENDED,
    Do,
    Extreme,
    LadderRules,
    NoticeRules,
    Step,
)
from policyd.aup.policy import Count, Likeness, LikenessBy, Mode, Recipients, Strength
from policyd.config.load import load

SAMPLE = Path(__file__).parents[2] / "etc/policyd/policy.yaml"
AFTERMATH = ("ladder", "notices", "hooks")


def test_it_is_the_policy() -> None:
    loaded = load(SAMPLE)
    assert loaded.problems == ()
    assert loaded.watched == {}
    policy = loaded.policy
    assert policy is not None
    assert policy.mode is Mode.OBSERVE
    told = {
        limit.id: (
            " ".join(map(str, limit.per)),
            limit.count,
            limit.max,
            limit.window // 60,
            limit.action.strength,
        )
        for limit in policy.limits
    }
    distinct, reject, defer = Count.DISTINCT_RECIPIENTS, Strength.REJECT, Strength.DEFER
    assert told == {
        "bulk": ("account likeness", distinct, 249, 1440, reject),
        "bulk-batches": ("account likeness", distinct, 249, 7 * 1440, reject),
        "bulk-domain": ("domain likeness", distinct, 249, 1440, reject),
        "repeat": ("account likeness recipient", Count.MESSAGES, 250, 1440, reject),
        "burst": ("account", Count.RECIPIENTS, 500, 10, defer),
        "daily": ("account", distinct, 1000, 1440, defer),
    }
    assert {limit.recipients for limit in policy.limits} == {Recipients.EXTERNAL}


def test_what_only_observes_still_does_when_the_file_enforces(tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text(SAMPLE.read_text().replace("mode: observe", "mode: enforce", 1))
    policy = load(path).policy
    assert policy is not None
    observing = [limit.id for limit in policy.limits if limit.mode is Mode.OBSERVE]
    assert observing == ["bulk-batches", "bulk-domain"]


def test_the_ladder_and_the_notices_are_there_and_harmless() -> None:
    policy = load(SAMPLE).policy
    assert policy is not None
    assert [limit.id for limit in policy.limits if limit.strike] == [
        "bulk",
        "bulk-batches",
        "repeat",
    ]
    for limit in policy.limits:
        assert ("incident" in limit.text.placeholders) is limit.strike
    ladder, notices, hooks = (getattr(policy.aftermath, name) for name in AFTERMATH)
    assert ladder == LadderRules(
        strikes_expire=30 * DAY,
        quiet=3600,
        steps=(
            Step(1, Do.NOTICE),
            Step(3, Do.SUSPEND_MAILBOX, DAY),
            Step(5, Do.SUSPEND_MAILBOX),
        ),
        extremes=(Extreme(DAY, recipients=5000), Extreme(7 * DAY, suspended_mailboxes=3)),
        never_suspend=frozenset(("mail.example",)),
        warn_at=0.8,
    )
    assert notices == NoticeRules(
        to=("postmaster@{domain}",),
        bcc=("abuse@mail.example",),
        sender="abuse@mail.example",
    )
    assert not notices.observed  # the sample observes: nothing is sent
    assert hooks == ()


def test_what_is_commented_out_is_right_as_well(tmp_path: Path) -> None:
    lines = []
    shown = False
    for line in SAMPLE.read_text().split("\n"):
        shown = line.startswith("# ") if shown else bool(re.fullmatch("# [a-z]+:", line))
        lines.append(
            line[2:] if shown else re.sub(r"^  # (?=[a-z_]+: |domains:|  - \{)", "  ", line)
        )
    path = tmp_path / "policy.yaml"
    path.write_text("\n".join(lines).replace(", /etc/postfix/virtual-domains", ""))
    for name in ("local-domains", "premium-accounts", "exempt-accounts"):
        (tmp_path / name).write_text("")
    shutil.copy(SAMPLE.parent / "notice-de.txt", tmp_path)
    for name in ("notice.txt", "summary.txt", "warning.txt"):
        (tmp_path / name).write_text("Subject: {account}\n\nMessages were refused.\n")
    (tmp_path / "notice-addresses").write_text(
        "customer.example: anna@customer.example, it@partner.example\n"
    )
    (tmp_path / "disclaimer.txt").write_text("Think of the environment.\n")
    path.write_text(path.read_text().replace("by: size", "by: content"))
    loaded = load(path)
    assert loaded.problems == ()
    assert loaded.policy is not None
    assert loaded.policy.likeness == Likeness(
        LikenessBy.CONTENT, boilerplate="Think of the environment.\n"
    )  # the comments show what is built in
    assert len(loaded.policy.overrides) == 3
    assert len(loaded.policy.exemptions) == 4
    assert loaded.policy.recipient_extension == "+"
    assert len(loaded.watched) == 9
    ladder, notices, hooks = (getattr(loaded.policy.aftermath, name) for name in AFTERMATH)
    assert ladder.suspended_text == SUSPENDED  # the comment shows what is built in
    assert set(notices.templates) == {"incident", "summary", "warning"}
    assert set(notices.domain_templates) == {"kunde.example"}
    assert set(notices.by_domain) == {"kunde.example", "customer.example"}
    assert len(hooks) == 2
