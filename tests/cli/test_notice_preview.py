"""``policyd notice preview``: what administrators get, before anybody gets it."""

from pathlib import Path

import pytest

from policyd.cli.main import main

RULES = """\
version: 1
organization: {name: Example Mail, contact: help@mail.example}
local: {domains: [mail.example, kunde.example]}
accounts: {default_domain: mail.example}
limits:
  - {id: bulk, title: Bulk mail, per: [account, likeness], count: distinct-recipients,
     recipients: external, max: 249, window: 24h, strike: true, mode: enforce}
ladder: {steps: [{strikes: 1, do: notice}, {strikes: 3, do: suspend-mailbox}], warn_at: 80%}
"""
NOTICES = """\
notices:
  to: ["postmaster@{domain}"]
  bcc: [abuse@mail.example]
  domains:
    - {domains: [kunde.example], template: kunde.txt}
"""


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    path = tmp_path / "policy.yaml"
    path.write_text(RULES + NOTICES)
    (tmp_path / "kunde.txt").write_text("Subject: Ihre Mail {incident}\n\nHallo {domain}\n")
    return path


def preview(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    assert main(["notice", "preview", *map(str, words)]) == 0
    told = capsys.readouterr()
    assert told.err == ""
    return told.out


@pytest.mark.parametrize(
    ("kind", "to", "words"),
    [
        ("incident", "postmaster@mail.example", "2 message(s) sent to 1652 recipient(s)"),
        ("incident", "postmaster@mail.example", "suspended"),
        ("summary", "postmaster@mail.example", "K7M4XQ2"),
        ("warning", "postmaster@mail.example", "199 of 249 in 24 hours"),
        ("extreme", "abuse@mail.example", "is not suspended"),
        ("observed", "abuse@mail.example", "observed"),
        ("digest", "abuse@mail.example", "1652 recipient(s)"),
    ],
)
def test_every_kind_is_shown_as_it_would_be_sent(
    capsys: pytest.CaptureFixture[str], rules: Path, kind: str, to: str, words: str
) -> None:
    shown = preview(capsys, rules, "--kind", kind)
    assert f"\nTo: {to}\n" in shown
    assert shown.startswith("From: Example Mail <help@mail.example>\n")
    assert words in shown


def test_a_domain_has_words_of_its_own(capsys: pytest.CaptureFixture[str], rules: Path) -> None:
    assert preview(capsys, rules, "--domain", "kunde.example") == (
        "From: Example Mail <help@mail.example>\n"
        "To: postmaster@kunde.example\n"
        "Subject: Ihre Mail K7M4XQ2\n"
        "Bcc: abuse@mail.example\n"
        "\n"
        "Hallo kunde.example\n"
    )


def test_without_notices_there_is_nothing_to_show(
    capsys: pytest.CaptureFixture[str], rules: Path
) -> None:
    rules.write_text(RULES)
    assert main(["notice", "preview", str(rules)]) == 1
    assert "has no notices: section" in capsys.readouterr().err


def test_where_nobody_would_get_it_that_is_said(
    capsys: pytest.CaptureFixture[str], rules: Path
) -> None:
    rules.write_text(RULES + 'notices: {to: ["postmaster@{domain}"]}\n')
    assert main(["notice", "preview", str(rules), "--domain", "strange.example"]) == 1
    assert "nobody who would get it" in capsys.readouterr().err


def test_a_mistake_in_the_rules_or_in_a_template_is_told(
    capsys: pytest.CaptureFixture[str], rules: Path
) -> None:
    (rules.parent / "kunde.txt").write_text("Subject: x\n\n{nobody}\n")
    assert main(["notice", "preview", str(rules)]) == 1
    assert "kunde.txt:3:1" in capsys.readouterr().err
