"""policyd report: text that goes into a mail as it is."""

import copy
import json
import re
from email import message_from_string
from pathlib import Path
from typing import Any

import pytest
from cli.test_admin_commands import Run, daemon, path, run, running  # noqa: F401 - fixtures
from service.test_daemon import Running

NOTHING = {"messages": 0, "recipients": 0, "senders": 0, "by": [], "top": []}
QUIET: dict[str, Any] = {
    "ok": True,
    "since": "2027-01-08T07:00:00+01:00",
    "since_epoch": 1_800_000_000.0 - 604_800,
    "until": "2027-01-15T07:00:00+01:00",
    "until_epoch": 1_800_000_000.0,
    "mode": "enforce",
    "organization": "Example Mail",
    "refused": NOTHING,
    "would_refuse": NOTHING,
    "incidents": {"opened": 0, "observed": 0, "open": 0, "newest": []},
    "suspensions": {"begun": 0, "ended": 0, "in_force": 0, "newest": []},
    "near_from": 0.8,
    "near": [],
}
LONG = "a-mailbox-with-a-name-that-goes-on-and-on@customer-with-a-long-name.example"
BUSY: dict[str, Any] = {
    **QUIET,
    "refused": {
        "messages": 7,
        "recipients": 2104,
        "senders": 25,
        "by": [
            {
                "limit": "bulk",
                "title": "Bulk mail",
                "messages": 3,
                "recipients": 2100,
                "senders": 24,
            },
            {"limit": "", "title": "", "messages": 4, "recipients": 4, "senders": 1},
        ],
        "top": [
            {"sender": "alice@mail.example", "limit": "bulk", "messages": 2, "recipients": 1652},
            {"sender": LONG, "limit": "", "messages": 4, "recipients": 4},
        ],
    },
    "would_refuse": {
        "messages": 1,
        "recipients": 9,
        "senders": 1,
        "by": [{"limit": "gone", "title": "", "messages": 1, "recipients": 9, "senders": 1}],
        "top": [
            {"sender": "x\x1b[31m@mail.example", "limit": "gone", "messages": 1, "recipients": 9}
        ],
    },
    "incidents": {
        "opened": 22,
        "observed": 1,
        "open": 3,
        "newest": [
            {
                "id": "K7M4XQ2",
                "account": "alice@mail.example",
                "domain": "mail.example",
                "limit": "bulk",
                "observed": False,
                "open": True,
                "strike": 1,
                "opened": "2027-01-14T12:13:14+01:00",
                "last": "2027-01-14T12:13:14+01:00",
                "messages": 2,
                "recipients": 1652,
            },
            {
                "id": "B7DFGH2",
                "account": "",
                "domain": "mail.example",
                "limit": "bulk-domain",
                "observed": True,
                "open": False,
                "strike": 0,
                "opened": "2027-01-13T12:13:14+01:00",
                "last": "2027-01-13T12:13:14+01:00",
                "messages": 1,
                "recipients": 300,
            },
        ],
    },
    "suspensions": {
        "begun": 1,
        "ended": 1,
        "in_force": 1,
        "newest": [
            {
                "kind": "domain",
                "name": "big.example",
                "holds": True,
                "until": None,
                "by": "ladder",
                "reason": "extreme abuse, 6000 recipients in 24 hours",
                "lifted": None,
            },
            {
                "kind": "mailbox",
                "name": "bob@mail.example",
                "holds": False,
                "until": "2027-01-14T12:00:00+01:00",
                "by": "anna",
                "reason": "stolen",
                "lifted": "2027-01-13T12:00:00+01:00",
            },
        ],
    },
    "near": [
        {
            "limit": "daily",
            "mode": "enforce",
            "per": ["account"],
            "values": ["carol@mail.example"],
            "used": 912,
            "max": 1000,
        },
        {
            "limit": "repeat",
            "mode": "observe",
            "per": ["account", "recipient"],
            "values": ["dave@mail.example", "nagios@away.example"],
            "used": 250,
            "max": 250,
        },
    ],
}
TEXT = r"""policyd report Example Mail
2027-01-08 07:00 +01:00 to 2027-01-15 07:00 +01:00 (7 days)

Refused: 7 messages
  Messages  Recipients  Senders  by
         3        2100       24  bulk (Bulk mail)
         4           4        1  the senders' suspension

  Messages  Recipients  Sender, by
         2        1652  alice@mail.example, bulk
         4           4  a-mailbox-with-a-name-that-goes-on-and-on@custom
                        er-with-a-long-name.example, suspension
  and 23 more senders

Would have been refused by limits that observe: 1 refusal
  Messages  Recipients  Senders  by
         1           9        1  gone

  Messages  Recipients  Sender, by
         1           9  x\x1b[31m@mail.example, gone

Incidents: 22 were opened, 1 only observed; 3 not over
  K7M4XQ2  2027-01-14 12:13  alice@mail.example, bulk: 2 messages to
                             1652
  B7DFGH2  2027-01-13 12:13  mail.example, bulk-domain (observed): 1
                             message to 300
  and 20 older

Suspensions: 1 begun, 1 ended, 1 in force
  domain big.example, until it is lifted, by ladder: extreme abuse, 6000
  recipients in 24 hours
  mailbox bob@mail.example, over since 2027-01-13 12:00 +01:00, by anna:
  stolen

Near a limit at present: 80% of it and more
      Used         Max  Whose, limit
       912        1000  carol@mail.example, daily
       250         250  dave@mail.example nagios@away.example, repeat
                        (observes)

More of it: policyd incidents, policyd incident ID, policyd suspensions
--all, and the log (event=refused, event=would-refuse).
"""


def told(run: Run, path: Path, answer: dict[str, Any], options: str = "") -> str:  # noqa: F811
    with daemon(path, f"{json.dumps(answer)}\n".encode()):
        code, out, err = run(f"report {options}")
    assert (code, err) == (0, "")
    return str(out)


def test_the_text_is_fit_for_a_mail(path: Path, run: Run) -> None:  # noqa: F811
    text = told(run, path, BUSY)
    assert text == TEXT
    assert max(map(len, text.splitlines())) <= 72
    assert text.isascii()


def test_where_nothing_has_happened_it_says_so(path: Path, run: Run) -> None:  # noqa: F811
    assert told(run, path, QUIET) == (
        "policyd report Example Mail\n"
        "2027-01-08 07:00 +01:00 to 2027-01-15 07:00 +01:00 (7 days)\n"
        "\n"
        "Refused: nothing\n"
        "\n"
        "Would have been refused by limits that observe: nothing\n"
        "\n"
        "Incidents: none was opened; 0 not over\n"
        "\n"
        "Suspensions: 0 begun, 0 ended, 0 in force\n"
        "\n"
        "Near a limit at present: nobody\n"
        "\n"
        "More of it: policyd incidents, policyd incident ID, policyd suspensions\n"
        "--all, and the log (event=refused, event=would-refuse).\n"
    )


def test_rules_that_only_observe_are_said_to(path: Path, run: Run) -> None:  # noqa: F811
    text = told(run, path, {**QUIET, "mode": "observe", "organization": ""})
    assert text.startswith("policyd report\n")
    assert "\nThe rules only observe: no limit refuses anything.\n" in text


@pytest.mark.parametrize(
    ("changes", "short"),
    [
        ({}, "7 messages refused, 1 suspended"),
        ({"mode": "observe"}, "1 refusal only observed, 1 suspended"),
        ({"refused": NOTHING, "suspensions": QUIET["suspensions"]}, "0 messages refused"),
    ],
)
def test_it_is_a_mail_if_that_is_wanted(
    path: Path,  # noqa: F811
    run: Run,  # noqa: F811
    changes: dict[str, Any],
    short: str,
) -> None:
    answer = {**copy.deepcopy(BUSY), **changes}
    mail = message_from_string(told(run, path, answer, "--mail-to pm@mail.example"))
    assert mail["To"] == "pm@mail.example"
    assert re.fullmatch(rf"policyd on \S+: {short}", mail["Subject"])
    assert mail["Auto-Submitted"] == "auto-generated"
    assert mail.get_content_type() == "text/plain"
    assert mail.defects == []
    assert str(mail.get_payload()).startswith("policyd report Example Mail\n")


@pytest.mark.parametrize("to", ["'a\nBcc: b'", "''", "'\x1b'", "jörg@mail.example"])
def test_nothing_but_an_address_gets_into_the_header(run: Run, to: str) -> None:  # noqa: F811
    code, out, err = run(f"report --mail-to {to}")
    assert (code, out) == (2, "")
    assert "is no address" in err


def test_the_answer_is_for_programs_as_well(path: Path, run: Run) -> None:  # noqa: F811
    assert json.loads(told(run, path, BUSY, "--json --since 30d")) == BUSY


def test_what_is_asked_for_a_report(path: Path, run: Run) -> None:  # noqa: F811
    answer = f"{json.dumps(QUIET)}\n".encode()
    with daemon(path, answer, answer) as asked:
        run("report")
        run("report --since 24h --mail-to pm")
    assert asked == [{"command": "report"}, {"command": "report", "since": "24h"}]


def test_its_help_has_an_example(run: Run) -> None:  # noqa: F811
    code, out, _ = run("report --help")
    assert code == 0
    assert "Example: policyd report --since 7d" in out
    assert re.search(r"(?m)^    report ", run("--help").out)


def test_a_daemon_tells_what_it_has_refused_also_after_a_restart(
    running: Running,  # noqa: F811
    run: Run,  # noqa: F811
) -> None:
    process = running.start(f"unix:{running.socket}")
    assert run("report --since 40d")[:2] == (2, "")
    run("suspend alice@local.example --reason stolen")
    assert running.mail("a") == "REJECT"
    for _ in range(2):
        said = json.loads(run("report --json").out)
        assert said["refused"]["top"] == [
            {"sender": "alice@local.example", "limit": "", "messages": 1, "recipients": 1}
        ]
        assert "mailbox alice@local.example, until it is lifted" in run("report").out
        running.stop(process)
        assert "STOPPING=1" in running.heard()
        process = running.start(f"unix:{running.socket}")
