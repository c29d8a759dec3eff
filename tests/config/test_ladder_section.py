"""What the ladder and the hooks of a rule file come to, and which refusals lead to them."""

from pathlib import Path

from policyd.aup.ladder_rules import (
    DAY,
    SUSPENDED,
    Aftermath,
    Do,
    Extreme,
    Hook,
    HookEvent,
    LadderRules,
    Step,
)
from policyd.aup.policy import Count, Limit
from policyd.aup.wording import SUSPENDED_PLACEHOLDERS
from policyd.config.load import load

LIMIT = "  - {id: bulk, per: account, count: messages, max: 9, window: 1h, strike: true}\n"
CONTACT = "organization: {contact: abuse@mail.example}\n"
RULES = f"version: 1\nlocal: {{domains: [mail.example]}}\n{CONTACT}limits:\n{LIMIT}"
UNCLIMBED = (
    RULES.replace(", strike: true", "") + "ladder: {steps: [{strikes: 3, do: suspend-mailbox}]}\n"
)


def aftermath_of(directory: Path, text: str, rules: str = RULES) -> Aftermath:
    """Return what follows a refusal by rules in which nothing is wrong or unwise."""
    path = directory / "policy.yaml"
    path.write_text(rules + text)
    loaded = load(path)
    assert loaded.problems == ()
    assert loaded.policy is not None
    return loaded.policy.aftermath


def ladder_of(directory: Path, text: str, rules: str = RULES) -> LadderRules:
    return aftermath_of(directory, f"ladder: {text}\n", rules).ladder


def limit_of(directory: Path, keys: str) -> Limit:
    path = directory / "policy.yaml"
    path.write_text(f"version: 1\nlimits:\n  - {{id: x, max: 9, {keys}}}\n")
    loaded = load(path)
    assert loaded.problems == ()
    assert loaded.policy is not None
    return loaded.policy.limits[0]


def problems_of(directory: Path, text: str) -> list[str]:
    path = directory / "policy.yaml"
    path.write_text(text)
    return [str(problem).partition("\n")[0] for problem in load(path).problems]


# ---- limits


def test_a_limit_may_strike(tmp_path: Path) -> None:
    limit = limit_of(
        tmp_path,
        "per: account, count: messages, window: 1h, strike: true, text: 'No; incident {incident}'",
    )
    assert limit.strike
    assert limit_of(tmp_path, "per: domain, count: messages, window: 1h, strike: true").strike
    assert not limit_of(tmp_path, "per: account, count: messages, window: 1h").strike


def test_signs_of_a_stolen_password_are_counts(tmp_path: Path) -> None:
    limit = limit_of(tmp_path, "per: account, count: distinct-clients, window: 1h")
    assert (limit.count, limit.known_for) == (Count.DISTINCT_CLIENTS, 0)
    limit = limit_of(tmp_path, "per: account, count: first-time-recipients, window: 30d")
    assert (limit.count, limit.known_for) == (Count.FIRST_TIME_RECIPIENTS, 30 * DAY)
    limit = limit_of(
        tmp_path, "per: account, count: first-time-recipients, window: 1h, known_for: 60m"
    )
    assert limit.known_for == 3600


# ---- the ladder


def test_without_a_ladder_nothing_climbs(tmp_path: Path) -> None:
    assert aftermath_of(tmp_path, "") == Aftermath()
    assert ladder_of(tmp_path, "{}") == LadderRules()


def test_a_ladder_with_everything(tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text(
        f"{RULES}notices: {{to: a@mail.example}}\n"
        "ladder:\n  strikes_expire: 60d\n  quiet: 30m\n  steps:\n"
        "    - {strikes: 1, do: notice}\n    - {strikes: 3, do: suspend-mailbox, for: 24h}\n"
        "    - {strikes: 5, do: suspend-mailbox}\n"
        "    - {strikes: 6, do: suspend-mailbox, for: 1h}\n"
        "  extreme:\n    - {recipients: 5000, in: 24h}\n    - {suspended_mailboxes: 3, in: 7d}\n"
        "  never_suspend: [Mail.Example., müller.example]\n  warn_at: 75%\n"
        "  suspended_recipients: external\n  suspended_text: 'No more; {reason}'\n"
    )
    policy = load(path).policy
    assert policy is not None
    ladder = policy.aftermath.ladder
    assert (ladder.strikes_expire, ladder.quiet) == (60 * DAY, 1800)
    assert ladder.steps == (
        Step(1, Do.NOTICE),
        Step(3, Do.SUSPEND_MAILBOX, DAY),
        Step(5, Do.SUSPEND_MAILBOX),
        Step(6, Do.SUSPEND_MAILBOX, 3600),
    )
    assert ladder.notice_from == 1
    assert ladder.extremes == (
        Extreme(DAY, recipients=5000),
        Extreme(7 * DAY, suspended_mailboxes=3),
    )
    assert ladder.never_suspend == {"mail.example", "xn--mller-kva.example"}
    assert ladder.warn_at == 0.75
    assert ladder.suspended_to_local
    assert ladder.suspended_text.template == "No more; {reason}"


def test_the_domain_that_everybody_shares_is_never_suspended(tmp_path: Path) -> None:
    rules = f"{RULES}accounts: {{default_domain: Mail.Example}}\n"
    assert aftermath_of(tmp_path, "", rules).ladder.never_suspend == {"mail.example"}
    assert ladder_of(tmp_path, "{quiet: 2h}", rules).never_suspend == {"mail.example"}
    assert ladder_of(tmp_path, "{never_suspend: []}", rules).never_suspend == frozenset()
    assert ladder_of(tmp_path, "{never_suspend: [b.example]}", rules).never_suspend == {"b.example"}


def test_who_is_suspended_is_told_whom_to_ask_if_there_is_anybody(tmp_path: Path) -> None:
    assert ladder_of(tmp_path, "{}").suspended_text == SUSPENDED
    told = ladder_of(tmp_path, "{}", RULES.replace(CONTACT, "")).suspended_text
    assert told.template == "Sending is suspended for {suspended}; {reason}; incident {incident}"
    assert SUSPENDED.placeholders <= SUSPENDED_PLACEHOLDERS


def test_every_placeholder_of_the_text_for_the_suspended(tmp_path: Path) -> None:
    names = "".join(f"{{{name}}}" for name in sorted(SUSPENDED_PLACEHOLDERS))
    settings = "{name: Example, aup_url: https://a.example, contact: a@mail.example}"
    rules = RULES.replace("{contact: abuse@mail.example}", settings)
    told = ladder_of(tmp_path, f"{{suspended_text: 'Suspended; {names}'}}", rules)
    assert told.suspended_text.placeholders == SUSPENDED_PLACEHOLDERS


def test_a_ladder_that_nobody_climbs_is_pointed_out(tmp_path: Path) -> None:
    (told,) = problems_of(tmp_path, UNCLIMBED)
    assert told == (
        f"{tmp_path}/policy.yaml:6:1: warning: no limit has strike: true, so nothing leads to the "
        "ladder; add strike: true to a limit"
    )


def test_what_climbs_may_be_in_a_file_that_could_not_be_read(tmp_path: Path) -> None:
    (tmp_path / "10-rules.yaml").write_text(UNCLIMBED)
    (tmp_path / "20-more.yaml").write_text("limits: [\n")
    assert {problem.file for problem in load(tmp_path).problems} == {f"{tmp_path}/20-more.yaml"}


# ---- hooks


def test_hooks(tmp_path: Path) -> None:
    hooks = aftermath_of(
        tmp_path,
        "hooks:\n  - {on: suspended, run: /usr/local/sbin/lock}\n"
        "  - {on: [lifted, incident-opened], run: [/bin/a b, '{x}', ''], timeout: 5m}\n"
        "  - {on: lifted, url: 'https://hooks.example:8443/x?y=z', timeout: 1s}\n",
    ).hooks
    assert hooks == (
        Hook(frozenset((HookEvent.SUSPENDED,)), ("/usr/local/sbin/lock",)),
        Hook(
            frozenset((HookEvent.LIFTED, HookEvent.INCIDENT_OPENED)),
            ("/bin/a b", "{x}", ""),
            timeout=300,
        ),
        Hook(frozenset((HookEvent.LIFTED,)), url="https://hooks.example:8443/x?y=z", timeout=1),
    )
