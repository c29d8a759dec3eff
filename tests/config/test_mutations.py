"""Whatever a rule file contains, loading it tells what is wrong, raises nothing, and is quick."""

import re
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from policyd.config.load import Loaded, load

SAMPLE = Path(__file__).parents[2] / "etc/policyd/policy.yaml"
# a temporary directory per test is enough: each example writes the file anew
CHECKS = settings(
    deadline=None, max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture]
)

EVERYTHING = """\
version: 1
mode: enforce
end_session: auto
time_zone: Europe/Berlin
organization: {name: Example Mail, aup_url: https://mail.example/aup, contact: a@mail.example}
local: {domains: [mail.example, .customers.example]}
accounts: {identity: [sasl_username], default_domain: mail.example, strip_extension: "+"}
recipients: {strip_extension: "+"}
likeness: {by: size, tolerance: 2%}
limits:
  - id: bulk
    title: Bulk mail
    per: [account, likeness, client_address/24]
    count: bytes
    recipients: external
    max: 25MB
    window: 24h
    refuse: message
    action: 552
    status: 5.7.1
    text: "Bulk mail is not permitted here; see {aup_url}; {used} of {max}; incident {incident}"
    strike: true
    mode: observe
    match: {sender: "/@list/", client: 192.0.2.0/24}
    unless: {recipient_domain: [.partner.example]}
  - {id: new, per: account, count: first-time-recipients, known_for: 30d, max: 9, window: 1h}
  - {id: networks, per: account, count: distinct-clients, max: 9, window: 1h}
overrides:
  - {match: {account: ceo}, limits: {"bulk*": unlimited}, until: 2030-01-31, reason: report}
exempt:
  - {client: [192.0.2.0/28, "2001:db8::/48"]}
ladder:
  strikes_expire: 30d
  quiet: 1h
  steps: [{strikes: 1, do: notice}, {strikes: 3, do: suspend-mailbox, for: 24h}]
  extreme: [{recipients: 5000, in: 24h}, {suspended_mailboxes: 3, in: 7d}]
  never_suspend: []
  warn_at: 80%
  suspended_recipients: external
  suspended_text: "Suspended; {reason}; ask {contact}; until {until}; incident {incident}"
notices:
  to: ["postmaster@{domain}"]
  to_file: addresses
  bcc: abuse@mail.example
  smtp: 127.0.0.1:10025
  sender: postmaster@mail.example
  template: template
  summary_template: template
  warning_template: template
  domains: [{domains: [kunde.example], to: "it@{domain}", template: template}]
  observed: true
  most_per_hour: 100
  give_up: 5d
hooks:
  - {on: [suspended, lifted], run: [/bin/true, "-x"], timeout: 10s}
  - {on: incident-opened, url: "http://127.0.0.1:8080/policyd"}
state: {directory: /var/lib/policyd, snapshot_every: 60s}
"""
SPLICES = st.sampled_from(
    (
        *"\t\0\r\n{}[]:,-#&*!|>'\"%@`~?\\ /",
        *("<<", "---", "...", "- ", "? ", "\x1b", "\x85", "\u2028", "\ufeff", "\ud7ff", "ß", "漢"),
        *("010", "12:30", "yes", "-1", "null", "''", "unlimited", "9" * 30, "25MB", "24h"),
        *("&a ", "*a ", "!!int ", "!x ", "/(", "{domain}", "{", "a: b", "1e400", "0x"),
    )
)


ADDRESSES = (
    "mail.example: a@mail.example, b@mail.example  # c\n  c@mail.example\nb.example d@b.example\n"
)
TEMPLATE = "Subject: {account}\n\nMessages were refused.\n"


def loaded(path: Path, data: bytes, addresses: str = ADDRESSES, template: str = TEMPLATE) -> Loaded:
    path.write_bytes(data)
    (path.parent / "addresses").write_bytes(addresses.encode("utf-8", "replace"))
    (path.parent / "template").write_bytes(template.encode("utf-8", "replace"))
    begin = time.process_time()
    result = load(path)
    assert time.process_time() - begin < 2
    errors = [problem for problem in result.problems if problem.severity.value == "error"]
    assert bool(errors) is (result.policy is None)
    for problem in result.problems:
        lines = str(problem).split("\n")
        assert len(lines[0]) < 1000
        assert re.fullmatch("[ -~\u00a0-\uffff\U00010000-\U0010ffff]+", lines[0])
        assert len(lines) in (1, 3)
        assert problem.hint
    return result


@CHECKS
@given(data=st.binary(max_size=200))
def test_any_bytes(tmp_path: Path, data: bytes) -> None:
    assert loaded(tmp_path / "policy.yaml", data).policy is None


@CHECKS
@given(text=st.text(max_size=200))
@example(text="a: '\\U99999999'")
@example(text='a: "\\UFFFFFFFF"')
@example(text='a: "\\ud800"')
@example(text="%YAML 1." + "9" * 5000 + "\n---\n")
@example(text="? " * 5000)
@example(text="- " * 5000)
@example(text="{a: " * 5000)
@example(text="version: 1\nexempt: [{sender: '/(\n\n" + "[" * 5000 + "/'}]")
@example(text="version: 1\nexempt: [{sender: '/a{99999999999999999999}/'}]")
@example(text="version: 1\nexempt: [{sender: '/" + "(" * 5000 + ")" * 5000 + "/'}]")
@example(text="version: 1\nexempt: [{domain: 'a@" + "ü" * 5000 + "'}]")
@example(text="version: 1\nlimits:\n- id: ''\n  text: '{" + "{" * 2000 + "'")
def test_any_text(tmp_path: Path, text: str) -> None:
    assert loaded(tmp_path / "policy.yaml", text.encode("utf-8", "replace")).policy is None


@CHECKS
@given(
    splices=st.lists(
        st.tuples(st.integers(0, len(EVERYTHING)), st.integers(0, 8), SPLICES), max_size=3
    )
)
def test_a_rule_file_with_splices(tmp_path: Path, splices: list[tuple[int, int, str]]) -> None:
    text = EVERYTHING
    for at, cut, put in splices:
        text = text[:at] + put + text[at + cut :]
    loaded(tmp_path / "policy.yaml", text.encode())


@CHECKS
@given(text=st.text(max_size=200) | st.text(":,#@ \t\nab.", max_size=200))
@example(text="a" * 5000 + ":" * 5000)
@example(text=" , ," * 5000)
def test_any_file_of_addresses(tmp_path: Path, text: str) -> None:
    loaded(tmp_path / "policy.yaml", EVERYTHING.encode(), addresses=text)


@CHECKS
@given(text=st.text(max_size=200) | st.text("{}ab \n", max_size=200))
def test_any_template(tmp_path: Path, text: str) -> None:
    loaded(tmp_path / "policy.yaml", EVERYTHING.encode(), template=text)
    loaded(tmp_path / "policy.yaml", EVERYTHING.encode(), template=f"Subject: x\n\n{text}")


@CHECKS
@given(data=st.data())
def test_a_rule_file_with_lines_moved(tmp_path: Path, data: st.DataObject) -> None:
    lines = SAMPLE.read_text().split("\n")
    for _ in range(data.draw(st.integers(1, 3))):
        line = lines.pop(data.draw(st.integers(0, len(lines) - 1)))
        indent = " " * data.draw(st.integers(0, 6))
        lines.insert(data.draw(st.integers(0, len(lines))), indent + line.strip())
    loaded(tmp_path / "policy.yaml", "\n".join(lines).encode())


def test_the_rule_file_itself_is_right(tmp_path: Path) -> None:
    right = loaded(tmp_path / "policy.yaml", EVERYTHING.encode())
    assert right.problems == ()
    assert right.policy is not None


@pytest.mark.parametrize(
    "text",
    [
        "version: 1\nexempt:\n" + "  - {acount: lists}\n" * 20_000,
        "version: 1\n" + "".join(f"key{number}: 1\n" for number in range(20_000)),
        "a: [" + "x, " * 100_000 + "]",
        "version: '" + "x" * 900_000 + "'",
        "a: &a " + "[" * 15 + "x" + "]" * 15 + "\n" + "b: [" + "*a, " * 20_000 + "]\n",
    ],
    ids=["entries", "keys", "list", "scalar", "aliases"],
)
def test_masses_of_mistakes_are_told_in_time(tmp_path: Path, text: str) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text(text)
    begin = time.process_time()
    assert load(path).policy is None
    assert time.process_time() - begin < 10


def test_a_file_larger_than_any_rules_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    path.write_bytes(b"# " + b"x" * (1 << 20))
    (problem,) = load(path).problems
    assert problem.message == "is larger than 1 MiB"
