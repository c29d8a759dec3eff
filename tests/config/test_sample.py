"""The rule file that is shipped: the acceptable-use policy, with nothing to complain of."""

import re
from pathlib import Path

from policyd.aup.policy import Count, Mode, Recipients, Strength
from policyd.config.load import load

SAMPLE = Path(__file__).parents[2] / "etc/policyd/policy.yaml"


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


def test_what_is_commented_out_is_right_as_well(tmp_path: Path) -> None:
    lines = []
    shown = False
    for line in SAMPLE.read_text().split("\n"):
        shown = line.startswith("# ") if shown else bool(re.fullmatch("# [a-z]+:", line))
        lines.append(
            line[2:]
            if shown
            else line.replace("# domain_files: [local-domains", "domain_files: [local-domains")
        )
    path = tmp_path / "policy.yaml"
    path.write_text("\n".join(lines).replace(", /etc/postfix/virtual-domains", ""))
    for name in ("local-domains", "premium-accounts", "exempt-accounts"):
        (tmp_path / name).write_text("")
    loaded = load(path)
    assert [(p.severity.value, p.source) for p in loaded.problems] == [
        ("warning", "ladder:"),
        ("warning", "notices:"),
    ]
    assert loaded.policy is not None
    assert len(loaded.policy.overrides) == 3
    assert len(loaded.policy.exemptions) == 4
    assert loaded.policy.recipient_extension == "+"
    assert len(loaded.watched) == 3
