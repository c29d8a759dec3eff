"""Good rule files, and what they come to; the files around them."""

import errno
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import NoReturn
from zoneinfo import ZoneInfo

import pytest

from policyd.aup.policy import (
    Action,
    Count,
    EndSession,
    KeyPart,
    Likeness,
    LikenessBy,
    Mode,
    Organization,
    Policy,
    Recipients,
    Refuse,
    State,
)
from policyd.clock import WallTime
from policyd.config.load import load
from policyd.config.problem import Severity

LIMIT = "{id: daily, per: account, count: messages, max: 9, window: 1h}"
MINIMAL = f"version: 1\nlimits:\n  - {LIMIT}\n"


def policy_of(directory: Path, text: str) -> Policy:
    """Return the policy of a rule file in which nothing is wrong or unwise."""
    path = directory / "policy.yaml"
    path.write_text(text)
    loaded = load(path)
    assert loaded.problems == ()
    assert loaded.policy is not None
    return loaded.policy


def limit_of(**keys: str) -> str:
    return (
        f"version: 1\nlimits:\n  - {LIMIT[:-1]}, {', '.join(f'{k}: {keys[k]}' for k in keys)}}}\n"
    )


def problems_of(path: Path) -> list[str]:
    return [str(problem).partition("\n")[0] for problem in load(path).problems]


# ---- what the keys come to


def test_all_that_is_not_said_has_a_default(tmp_path: Path) -> None:
    policy = policy_of(tmp_path, MINIMAL)
    assert policy.mode is Mode.OBSERVE
    assert policy.end_session is EndSession.AUTO
    assert policy.time_zone is UTC
    assert policy.organization == Organization()
    assert policy.likeness == Likeness(LikenessBy.SIZE, 64, percent=False)
    assert policy.accounts.identity == ("sasl_username",)
    assert policy.recipient_extension == ""
    assert policy.state == State("/var/lib/policyd", 60)
    assert (policy.overrides, policy.exemptions, len(policy.local)) == ((), (), 0)
    assert policy.aftermath.notices is None
    assert policy.aftermath.hooks == ()
    (limit,) = policy.limits
    assert (limit.id, limit.title, limit.max, limit.window) == ("daily", "daily", 9, 3600)
    assert limit.per == (KeyPart("account"),)
    assert (limit.count, limit.recipients) == (Count.MESSAGES, Recipients.ALL)
    assert (limit.refuse, limit.mode) == (Refuse.MESSAGE, Mode.OBSERVE)
    assert limit.action == Action("REJECT", "5.7.1")
    assert limit.text.template == "{title}; {used} of {max} in {window}"
    assert not limit.match
    assert not limit.unless
    assert (limit.strike, limit.known_for) == (False, 0)


def test_the_file_as_a_whole(tmp_path: Path) -> None:
    policy = policy_of(
        tmp_path,
        MINIMAL + "mode: enforce\nend_session: no\ntime_zone: Europe/Berlin\n"
        "organization: {name: Example, aup_url: https://a.example, contact: a@mail.example}\n"
        "local: {domains: [Mail.Example, .customers.example, müller.example, '[192.0.2.1]']}\n"
        "accounts: {identity: [sasl_username, ccert_subject], default_domain: mail.example,\n"
        "           strip_extension: '+'}\n"
        "recipients: {strip_extension: '-'}\n"
        "likeness: {by: any, tolerance: 2.5%}\n"
        "state: {directory: /var/lib/policyd, snapshot_every: 5m}\n",
    )
    assert policy.mode is Mode.ENFORCE
    assert policy.limits[0].mode is Mode.ENFORCE
    assert policy.end_session is EndSession.NO
    assert policy.time_zone == ZoneInfo("Europe/Berlin")
    assert policy.organization == Organization("Example", "https://a.example", "a@mail.example")
    assert [d in policy.local for d in ("mail.example", "a.b.customers.example")] == [True, True]
    assert "xn--mller-kva.example" in policy.local
    assert "[192.0.2.1]" in policy.local
    assert "sub.mail.example" not in policy.local
    assert policy.accounts.normalise("Alice+shop") == "alice@mail.example"
    assert policy.recipient_extension == "-"
    assert policy.likeness == Likeness(LikenessBy.ANY, 2.5, percent=True)
    assert policy.state == State("/var/lib/policyd", 300)


@pytest.mark.parametrize(
    ("written", "action"),
    [
        ("REJECT", Action("REJECT", "5.7.1")),
        ("DEFER", Action("DEFER", "4.7.1")),
        ("HOLD", Action("HOLD")),
        ("WARN", Action("WARN")),
        ("452", Action("452", "4.7.1")),
        ("552, status: 5.2.3", Action("552", "5.2.3")),
    ],
)
def test_actions(tmp_path: Path, written: str, action: Action) -> None:
    assert policy_of(tmp_path, limit_of(action=written)).limits[0].action == action


def test_a_deferral_has_a_text_of_each_kind(tmp_path: Path) -> None:
    text = limit_of(action="421", text="'Too much; try again later; {used} of {max}'")
    (limit,) = policy_of(tmp_path, text).limits
    assert limit.text.tail == "; retry in {retry_after}"
    assert limit.permanent_text.template == "Too much; {used} of {max}"


@pytest.mark.parametrize(
    ("written", "part"),
    [
        ("client_address", KeyPart("client_address", 32, 128)),
        ("client", KeyPart("client_address", 32, 128)),
        ("client_address/24", KeyPart("client_address", 24, 64)),
        ("client_address/32", KeyPart("client_address", 32, 64)),
        ("client_address/64", KeyPart("client_address", 32, 64)),
        ("server_address/33", KeyPart("server_address", 32, 33)),
        ("client/16/48", KeyPart("client_address", 16, 48)),
        ("recipient_domain", KeyPart("recipient_domain")),
        ("sasl_method", KeyPart("sasl_method")),
    ],
)
def test_names_under_per(tmp_path: Path, written: str, part: KeyPart) -> None:
    policy = policy_of(tmp_path, MINIMAL.replace("per: account", f"per: [{written}]"))
    assert policy.limits[0].per == (part,)


def test_bytes_are_told_as_a_size_or_a_number(tmp_path: Path) -> None:
    sizes = MINIMAL.replace("messages", "bytes")
    assert policy_of(tmp_path, sizes).limits[0].max == 9
    assert policy_of(tmp_path, sizes.replace("max: 9", "max: 25MB")).limits[0].max == 25_000_000
    assert policy_of(tmp_path, sizes.replace("max: 9", "max: 1KiB")).limits[0].max == 1024


def test_conditions_of_a_limit(tmp_path: Path) -> None:
    text = limit_of(
        match="{client: [192.0.2.0/24], sender: '/@list\\./'}",
        unless="{recipient_domain: .partner.example}",
    )
    (limit,) = policy_of(tmp_path, text).limits
    sending = {"client_address": "192.0.2.9", "sender": "a@list.example"}
    assert limit.match.matches(sending)
    assert not limit.match.matches(sending | {"client_address": "198.51.100.1"})
    assert limit.unless.matches_recipient("bob@eu.partner.example")
    assert not limit.unless.matches_recipient("bob@other.example")


def test_overrides_and_exemptions(tmp_path: Path) -> None:
    policy = policy_of(
        tmp_path,
        MINIMAL + "accounts: {default_domain: mail.example}\n"
        "overrides:\n"
        "  - {match: {account: alice}, limits: {daily: 5000, 'd*': unlimited}, reason: why}\n"
        "exempt:\n"
        "  - {account: bob, client: '2001:db8::/48', reason: because}\n"
        "  - {recipient: abuse@partner.example}\n",
    )
    (override,) = policy.overrides
    assert override.match.matches({"account": "alice@mail.example"})
    assert dict(override.limits) == {"daily": 5000, "d*": None}
    assert (override.until, override.reason) == (None, "why")
    sender, recipient = policy.exemptions
    assert sender.match.matches({"account": "bob@mail.example", "client_address": "2001:db8::1"})
    assert not sender.match.matches({"account": "bob@mail.example", "client_address": "::1"})
    assert sender.reason == "because"
    assert recipient.match.matches_recipient("abuse@partner.example")


@pytest.mark.parametrize(
    ("zone", "day", "end"),
    [
        ("UTC", "2027-01-31", datetime(2027, 2, 1, tzinfo=UTC)),
        ("Europe/Berlin", "2027-01-31", datetime(2027, 1, 31, 23, tzinfo=UTC)),
        ("Europe/Berlin", "2027-03-28", datetime(2027, 3, 28, 22, tzinfo=UTC)),  # a short day
        ("America/New_York", "2028-02-29", datetime(2028, 3, 1, 5, tzinfo=UTC)),
    ],
)
def test_until_is_the_end_of_the_day(tmp_path: Path, zone: str, day: str, end: datetime) -> None:
    exempt = f"time_zone: {zone}\nexempt:\n  - {{account: a, until: {day}}}\n"
    policy = policy_of(tmp_path, MINIMAL + exempt)
    assert policy.exemptions[0].until == end.timestamp()


def test_what_is_over_is_pointed_out_when_it_is(tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text(MINIMAL + "exempt:\n  - {account: a, until: 2027-01-31}\n")
    end = datetime(2027, 2, 1, tzinfo=UTC).timestamp()
    assert load(path, WallTime(end - 1)).problems == ()
    over = load(path, WallTime(end))
    assert [problem.severity for problem in over.problems] == [Severity.WARNING]
    assert over.policy is not None


# ---- the file itself


@pytest.mark.parametrize("prefix", ["\ufeff", "---\n", "%YAML 1.1\n---\n", "# über uns\n"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_harmless_forms_of_a_file(tmp_path: Path, prefix: str, newline: str) -> None:
    path = tmp_path / "policy.yaml"
    path.write_bytes((prefix + MINIMAL + "...\n").replace("\n", newline).encode())
    assert load(path).problems == ()


def test_a_mistake_has_its_place_in_each_of_them(tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    path.write_bytes(
        ("\ufeff" + MINIMAL.replace("max: 9", "max: 09")).replace("\n", "\r\n").encode()
    )
    (problem,) = load(path).problems
    assert (problem.line, problem.column) == (3, MINIMAL.split("\n")[2].index("9,") + 1)
    assert problem.source == MINIMAL.split("\n")[2].replace("max: 9", "max: 09")


def test_an_alias_repeats_a_value(tmp_path: Path) -> None:
    policy = policy_of(
        tmp_path,
        f"version: 1\nlimits:\n  - {LIMIT[:-1]}, match: &who {{sender: a@b.example}}}}\n"
        f"  - {LIMIT[:-1].replace('daily', 'hourly')}, match: *who}}\n",
    )
    assert str(policy.limits[0].match) == str(policy.limits[1].match) == "sender a@b.example"


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    loaded = load(path)
    assert loaded.policy is None
    assert problems_of(path) == [
        f"{path}: cannot be read: No such file or directory; check the name"
    ]


def test_a_file_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text(MINIMAL)

    def refuse(*_: object) -> NoReturn:
        raise PermissionError(errno.EACCES, "Permission denied")

    # root, as whom this may run, reads everything
    monkeypatch.setattr(Path, "open", refuse)
    assert problems_of(path) == [
        f"{path}: cannot be read: Permission denied; check its permissions"
    ]


def test_a_directory_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: object) -> NoReturn:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "iterdir", refuse)
    assert problems_of(tmp_path) == [
        f"{tmp_path}: cannot be read: Permission denied; check its permissions"
    ]


def test_a_name_that_no_file_can_have() -> None:
    for name in ("x" * 5000, "a\0b"):
        (problem,) = load(Path(name)).problems
        assert problem.message.startswith("cannot be read: ")


def test_a_pipe_does_not_hold_up_the_daemon(tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    os.mkfifo(path)
    assert problems_of(path) == [f"{path}: is no regular file; name a file"]


# ---- a directory


def test_a_directory_is_one_rule_file(tmp_path: Path) -> None:
    (tmp_path / "10-base.yaml").write_text(
        "version: 1\nmode: enforce\nlocal:\n  domains: a.example\n"
    )
    (tmp_path / "20-limits.yaml").write_text(
        f"limits:\n  - {LIMIT}\nlocal: {{domains: [b.example], domain_files: more}}\n"
    )
    (tmp_path / "30-limits.yaml").write_text(
        f"limits:\n  - {LIMIT.replace('daily', 'hourly')}\nexempt:\n  - {{account: a}}\n"
    )
    (tmp_path / "40-exempt.yaml").write_text("exempt:\n  - {account: b}\n")
    for number in (1, 2):
        hook = f"{{on: lifted, url: http://127.0.0.1/{number}}}"
        (tmp_path / f"5{number}-hook.yaml").write_text(f"hooks:\n  - {hook}\n")
    (tmp_path / ".#40-exempt.yaml").write_text("an editor's lock")
    (tmp_path / "50-off.yaml.off").write_text("limits: nothing")
    (tmp_path / "more").write_text("c.example\n")
    loaded = load(tmp_path)
    assert loaded.problems == ()
    assert loaded.policy is not None
    assert [limit.id for limit in loaded.policy.limits] == ["daily", "hourly"]
    assert {limit.mode for limit in loaded.policy.limits} == {Mode.ENFORCE}
    assert [str(exemption.match) for exemption in loaded.policy.exemptions] == [
        "account a",
        "account b",
    ]
    assert [hook.url[-1] for hook in loaded.policy.aftermath.hooks] == ["1", "2"]
    assert len(loaded.policy.local) == 3
    assert list(loaded.watched) == [tmp_path / "more"]


def test_a_broken_file_hides_no_mistake_of_another(tmp_path: Path) -> None:
    (tmp_path / "10-base.yaml").write_text("version: 1\nmode: enforced\n")
    (tmp_path / "20-limits.yaml").write_text("limits: [\n")
    assert len(problems_of(tmp_path)) == 2


# ---- list files


def test_list_files(tmp_path: Path) -> None:
    (tmp_path / "domains").write_bytes(
        b"\xef\xbb\xbf# ours\r\n\r\nMail.Example\r\n.customers.example  # and below\r\n"
        b"shop.example  OK\r\n    continued\r\n"
    )
    (tmp_path / "accounts").write_text("Alice\nbob@b.example premium\n")
    (tmp_path / "tenants").write_text(".big.example\n")
    policy = policy_of(
        tmp_path,
        MINIMAL + "accounts: {default_domain: mail.example}\nlocal: {domain_files: domains}\n"
        "overrides:\n  - {accounts_file: accounts, limits: {daily: 10}}\n"
        "exempt:\n  - {domains_file: tenants}\n",
    )
    assert len(policy.local) == 3
    assert "a.customers.example" in policy.local
    (override,) = policy.overrides
    assert override.match.matches({"account": "alice@mail.example"})
    assert override.match.matches({"account": "bob@b.example"})
    assert not override.match.matches({"account": "eve@b.example"})
    (exemption,) = policy.exemptions
    assert exemption.match.matches({"domain": "a.big.example"})
    assert not exemption.match.matches({"domain": "mail.example"})


def test_list_files_are_watched_right_or_wrong(tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text(MINIMAL + f"local: {{domain_files: [near, near, {tmp_path}/far/file]}}\n")
    (tmp_path / "near").write_text("a.example\n")
    loaded = load(path)
    assert loaded.policy is None
    assert list(loaded.watched) == [tmp_path / "near", tmp_path / "far/file"]


def test_a_list_file_with_no_end_of_mistakes(tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text(MINIMAL + "local: {domain_files: list}\n")
    (tmp_path / "list").write_text("a b c\nx@y\n" * 1000)
    told = problems_of(path)
    assert len(told) == 21
    assert (
        told[-1] == f"{tmp_path}/list:42:1: more lines like the ones above; is this the right file?"
    )


@pytest.mark.parametrize("content", [b"a\0b.example\n", b"a.example\nm\xfcller.example\n"])
def test_a_list_file_that_is_no_text(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text(MINIMAL + "local: {domain_files: list}\n")
    (tmp_path / "list").write_bytes(content)
    (problem,) = load(path).problems
    assert problem.file == str(tmp_path / "list")
    assert problem.column == 2
