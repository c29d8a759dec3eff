"""What policyd says: one line an event, whatever strangers put into it."""

import inspect
from types import SimpleNamespace
from typing import Any

import pytest
from aup.building import Desk, limit, policy, request
from hypothesis import example, given, settings
from hypothesis import strategies as st
from service.log_lines import Lines, parsed
from twisted.python.failure import Failure

from policyd.aup.event import Decided, Exceeded
from policyd.aup.policy import Action, Count, EndSession, Mode
from policyd.compiled import core
from policyd.config.problem import Severity
from policyd.counting.counters import Figures
from policyd.protocol.reply import Verdict
from policyd.protocol.request import Request, Stage
from policyd.service.log_writer import Priority
from policyd.service.maillog import MailLog, line

# as the parser gives them: any bytes
TEXTS = st.one_of(
    st.binary(max_size=40).map(lambda raw: raw.decode("utf-8", "surrogateescape")),
    st.text(max_size=20),
    st.sampled_from(
        [
            "",
            " ",
            "a b=c",
            'a" event="forged',
            "a\nevent=refused",
            "a\r\nevent=refused",
            "a\x0bevent=refused",
            "a\u2028event=refused",
            "a\x85event=refused",
            "\\",
            '\\"',
            "\\n",
            "\x7f\x1b[2J",
            "\udcff",
            "jörg@例え.example",
            "{}",
            "null",
        ]
    ),
)


def one_line(text: str) -> dict[str, str]:
    """Return the fields of *text*, which must be one line of printable ASCII."""
    assert text.isascii()
    assert text.isprintable()
    assert text.splitlines() == [text]
    return parsed(text)


# fields


@settings(deadline=None, max_examples=300)
@given(st.dictionaries(st.sampled_from(["sender", "recipient", "key", "text"]), TEXTS))
@example({"sender": "a\x0bb event=x", "recipient": "", "key": 'a\n"b"', "text": "\x7f\x85\u2028"})
def test_a_line_is_one_line_and_gives_back_what_was_put_into_it(fields: dict[str, str]) -> None:
    text = line("happened", **fields)
    assert text.startswith("event=happened")
    assert one_line(text) == {"event": "happened"} | fields


def test_plain_values_stand_as_they_are() -> None:
    assert line(
        "refused", account="a+b@c.example", used=3, size=1.5, window="86400s", q="<a,b>*"
    ) == ("event=refused account=a+b@c.example used=3 size=1.5 window=86400s q=<a,b>*")


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("", '""'),
        ("two words", '"two words"'),
        ("a=b", '"a=b"'),
        ('say "no"', '"say \\"no\\""'),
        ("back\\slash", '"back\\\\slash"'),
        ("a\nb", '"a\\nb"'),
        ("a\x7fb", '"a\\u007fb"'),
        ("a\x0bb\x85c", '"a\\u000bb\\u0085c"'),
        ("jörg", '"j\\u00f6rg"'),
        ("\udcff", '"\\udcff"'),
        ("a;b", '"a;b"'),
    ],
)
def test_anything_else_is_quoted(value: str, shown: str) -> None:
    assert line("x", value=value) == f"event=x value={shown}"


# refusals


def exceeded(refused: bool = True, window: int = 86400, **said: Any) -> Exceeded:
    return Exceeded(
        refused=refused,
        stage=Stage.END_OF_MESSAGE,
        limit=limit("bulk", window=window, mode=Mode.ENFORCE if refused else Mode.OBSERVE),
        most=249,
        key="alice@local.example\n7",
        figures=Figures(200, 20, 30),
        action=Action("REJECT", "5.7.1"),
        verdict=Verdict("521", "5.7.1", "Too much; 250 of 249"),
        account="alice@local.example",
        domain="local.example",
        request=request("END-OF-MESSAGE", queue_id="4F2C", recipient_count=30, size=2000, **said),
    )


def test_a_refusal_tells_all_that_an_administrator_asks() -> None:
    lines = Lines()
    MailLog(lines).happened(exceeded(sender="x@local.example"))  # type: ignore[arg-type]
    assert [priority for priority, _ in lines.written] == [Priority.NOTICE]
    assert lines.fields == [
        {
            "event": "refused",
            "limit": "bulk",
            "stage": "END-OF-MESSAGE",
            "action": "REJECT",
            "reply": "521",
            "mode": "enforce",
            "account": "alice@local.example",
            "domain": "local.example",
            "client_address": "192.0.2.7",
            "sender": "x@local.example",
            "recipient": "",
            "recipient_count": "30",
            "size": "2000",
            "queue_id": "4F2C",
            "instance": "1.1.1.0",
            "used": "250",
            "reserved": "20",
            "asked": "30",
            "max": "249",
            "window": "24h",
            "key": "alice@local.example 7",
            "text": "Too much; 250 of 249",
        }
    ]


@pytest.mark.parametrize(
    ("window", "shown"),
    [
        (1, "1s"),
        (60, "1m"),
        (90, "90s"),
        (600, "10m"),
        (3600, "1h"),
        (5400, "90m"),
        (86400, "24h"),
        (172800, "2d"),
        (604800, "7d"),
        (604801, "604801s"),
        (90000, "25h"),
    ],
)
def test_a_window_is_shown_as_the_rule_file_has_it(window: int, shown: str) -> None:
    lines = Lines()
    MailLog(lines).happened(exceeded(window=window))  # type: ignore[arg-type]
    assert lines.fields[0]["window"] == shown


def test_a_would_be_refusal_is_told_from_a_refusal() -> None:
    lines = Lines()
    MailLog(lines).happened(exceeded(refused=False))  # type: ignore[arg-type]
    assert [priority for priority, _ in lines.written] == [Priority.INFO]
    assert lines.events == ["would-refuse"]
    assert lines.fields[0]["mode"] == "observe"


@settings(deadline=None)
@given(TEXTS, TEXTS, TEXTS, TEXTS)
def test_a_refusal_is_one_line_whatever_is_in_the_addresses(
    sender: str, recipient: str, client: str, queue_id: str
) -> None:
    # an enforced limit, a would-be refusal, and the arithmetic of every request, from the engine
    lines = Lines()
    log = MailLog(lines)  # type: ignore[arg-type]
    rules = policy(
        limit("none", "sender", count=Count.MESSAGES, max=0, text="{sender} {recipient}"),
        limit("seen", "client_address recipient", max=0, mode=Mode.OBSERVE),
        limit("warn", "queue_id", max=0, action=Action("WARN")),
        end_session=EndSession.NO,
    )
    desk = Desk(rules)
    for stage in ("RCPT", "END-OF-MESSAGE"):
        asked = request(
            stage,
            sender=sender,
            recipient=recipient,
            client_address=client,
            queue_id=queue_id,
            recipient_count=1,
            instance="" if stage == "RCPT" else "2.1.1.0",
        )
        for event in desk.ask(asked).events:
            log.happened(event)
    assert lines.written
    for _, text in lines.written:
        fields = one_line(text)
        assert fields["event"] in ("refused", "would-refuse", "decided")
        assert fields["sender"] == sender
        assert fields["recipient"] == recipient
        assert fields["client_address"] == client
        assert fields["queue_id"] == queue_id


# every request


def test_the_arithmetic_of_a_request_is_shown() -> None:
    lines = Lines()
    decided = Decided(
        verdict=Verdict("REJECT", "5.7.1", "No"),
        account="alice@local.example",
        request=request("RCPT", "r@away.example", policy_context="submission"),
        figures=(("bulk", Figures(1, 2, 3), 249), ("daily", Figures(0, 0, 1), 1000)),
    )
    MailLog(lines).happened(decided)  # type: ignore[arg-type]
    assert [priority for priority, _ in lines.written] == [Priority.DEBUG]
    (fields,) = lines.fields
    assert fields["event"] == "decided"
    assert fields["stage"] == "RCPT"
    assert fields["verdict"] == "REJECT 5.7.1 No"
    assert fields["limits"] == "bulk=1+2+3/249 daily=0+0+1/1000"
    assert fields["policy_context"] == "submission"
    assert fields["recipient"] == "r@away.example"


def test_a_pass_is_shown_as_such() -> None:
    lines = Lines()
    decided = Decided(Verdict("DUNNO"), "", request("VRFY"), ())
    MailLog(lines).happened(decided)  # type: ignore[arg-type]
    assert lines.fields[0]["verdict"] == "DUNNO"
    assert lines.fields[0]["limits"] == ""


@pytest.mark.parametrize(
    ("least", "shown"),
    [(Priority.DEBUG, True), (Priority.INFO, False), (Priority.NOTICE, False)],
)
def test_requests_are_shown_only_where_debugging_is_wanted(least: Priority, shown: bool) -> None:
    assert MailLog(Lines(least)).shows_requests is shown  # type: ignore[arg-type]


# everything else that is said

NASTY = 'a\nevent=forged "x" \u2028\x85\udcff\x1b[2J'


def failure() -> Failure:
    def fail() -> None:
        raise ValueError(NASTY)

    try:
        fail()
    except ValueError:
        return Failure()


SAID: list[tuple[str, tuple[Any, ...], Priority, str, dict[str, str]]] = [
    (
        "started",
        ("0.1.0", ["tcp:127.0.0.1:10040", "unix:/run/x"], ["unix:/y"], "observe", "bulk,daily"),
        Priority.NOTICE,
        "started",
        {
            "version": "0.1.0",
            "core": core(),
            "listen": "tcp:127.0.0.1:10040,unix:/run/x",
            "milter": "unix:/y",
            "mode": "observe",
            "limits": "bulk,daily",
        },
    ),
    ("stopping", (), Priority.NOTICE, "stopping", {}),
    (
        "reloaded",
        ("enforce", "bulk", ["a", "b"], "SIGHUP"),
        Priority.NOTICE,
        "reloaded",
        {"why": "SIGHUP", "mode": "enforce", "limits": "bulk", "emptied": "a,b"},
    ),
    (
        "reloaded",
        ("enforce", "bulk", [], NASTY),
        Priority.NOTICE,
        "reloaded",
        {"why": NASTY, "mode": "enforce", "limits": "bulk"},
    ),
    ("reload_failed", (NASTY,), Priority.ERROR, "reload-failed", {"why": NASTY}),
    ("needs_restart", (NASTY,), Priority.WARNING, "needs-restart", {"key": NASTY}),
    (
        "open_to_the_net",
        ("tcp:0.0.0.0:10040",),
        Priority.WARNING,
        "listens-beyond-loopback",
        {"listen": "tcp:0.0.0.0:10040"},
    ),
    (
        "bad_request",
        ("192.0.2.1:9", NASTY),
        Priority.WARNING,
        "bad-request",
        {"peer": "192.0.2.1:9", "problem": NASTY},
    ),
    (
        "deciding_failed",
        (Request({"sender": NASTY}), failure().value),
        Priority.ERROR,
        "deciding-failed",
        {"answer": "DUNNO", "request": repr(Request({"sender": NASTY}))},
    ),
    ("task_failed", ("snapshot", failure()), Priority.ERROR, "task-failed", {"task": "snapshot"}),
    ("twisted_failed", (NASTY,), Priority.ERROR, "internal-error", {"text": NASTY}),
    (
        "state_loaded",
        (NASTY, ["bulk"]),
        Priority.INFO,
        "state-loaded",
        {"directory": NASTY, "emptied": "bulk"},
    ),
    ("state_loaded", ("/x", []), Priority.INFO, "state-loaded", {"directory": "/x"}),
    ("state_problem", (NASTY,), Priority.ERROR, "state-problem", {"problem": NASTY}),
    ("state_not_copied", (OSError(NASTY),), Priority.ERROR, "state-not-copied", {}),
    ("evicted", ({"limit bulk": 3},), Priority.WARNING, "evicted", {}),
    ("state_trouble", (OSError(NASTY),), Priority.ERROR, "state-trouble", {}),
    ("state_saved_again", (), Priority.NOTICE, "state-saved-again", {}),
    (
        "notice_queued",
        (NASTY, ["a@x.example", "b@x.example"]),
        Priority.DEBUG,
        "notice-queued",
        {"notice": NASTY, "recipients": "a@x.example,b@x.example"},
    ),
    (
        "notice_sent",
        (NASTY, ["a@x.example"]),
        Priority.INFO,
        "notice-sent",
        {"notice": NASTY, "recipients": "a@x.example"},
    ),
    (
        "notice_failed",
        ("incident 7KX3PQ2", NASTY, 60.0),
        Priority.WARNING,
        "notice-failed",
        {"notice": "incident 7KX3PQ2", "why": NASTY, "retry_in": "60s"},
    ),
    (
        "notice_refused",
        ("incident 7KX3PQ2", NASTY, NASTY),
        Priority.ERROR,
        "notice-refused",
        {"notice": "incident 7KX3PQ2", "recipient": NASTY, "why": NASTY},
    ),
    (
        "notice_given_up",
        (NASTY, NASTY),
        Priority.ERROR,
        "notice-given-up",
        {"notice": NASTY, "why": NASTY},
    ),
    (
        "notices_digested",
        ([NASTY], 300),
        Priority.NOTICE,
        "notices-digested",
        {"recipients": NASTY, "incidents": "300"},
    ),
    (
        "hook_done",
        (NASTY, "suspended", NASTY),
        Priority.INFO,
        "hook-done",
        {"hook": NASTY, "on": "suspended", "about": NASTY},
    ),
    (
        "hook_failed",
        (NASTY, "lifted", NASTY, NASTY, 60.0),
        Priority.WARNING,
        "hook-failed",
        {"hook": NASTY, "on": "lifted", "about": NASTY, "why": NASTY, "retry_in": "60s"},
    ),
    (
        "hook_given_up",
        (NASTY, "lifted", NASTY, NASTY),
        Priority.ERROR,
        "hook-given-up",
        {"hook": NASTY, "on": "lifted", "about": NASTY, "why": NASTY},
    ),
    (
        "hook_dropped",
        (7, NASTY),
        Priority.ERROR,
        "hook-dropped",
        {"count": "7", "why": NASTY},
    ),
    (
        "administered",
        (NASTY, "suspend", NASTY, NASTY),
        Priority.NOTICE,
        "administered",
        {"by": NASTY, "action": "suspend", "subject": NASTY, "reason": NASTY},
    ),
    ("admin_unavailable", (NASTY,), Priority.WARNING, "admin-unavailable", {"problem": NASTY}),
    ("metrics_unavailable", (NASTY,), Priority.WARNING, "metrics-unavailable", {"problem": NASTY}),
    ("happened", (exceeded(sender=NASTY),), Priority.NOTICE, "refused", {"sender": NASTY}),
]


@pytest.mark.parametrize(
    ("method", "arguments", "priority", "event", "fields"), SAID, ids=[said[0] for said in SAID]
)
def test_everything_that_is_said_is_one_line(
    method: str,
    arguments: tuple[Any, ...],
    priority: Priority,
    event: str,
    fields: dict[str, str],
) -> None:
    lines = Lines()
    getattr(MailLog(lines), method)(*arguments)  # type: ignore[arg-type]
    ((urgency, text),) = lines.written
    assert urgency is priority
    found = one_line(text)
    assert found["event"] == event
    assert found.items() >= fields.items()
    assert ("emptied" in found) is ("emptied" in fields)


def test_the_table_above_has_everything() -> None:
    public = {
        name
        for name, _ in inspect.getmembers(MailLog, inspect.isfunction)
        if not name.startswith("_")
    }
    assert public == {said[0] for said in SAID} | {"rule_problem"}


@pytest.mark.parametrize(
    ("severity", "priority"),
    [(Severity.ERROR, Priority.ERROR), (Severity.WARNING, Priority.WARNING)],
)
def test_of_a_mistake_in_the_rules_the_first_line_is_said(
    severity: Severity, priority: Priority
) -> None:
    class Mistake(SimpleNamespace):
        def __str__(self) -> str:
            return "policy.yaml:3:5: what is wrong\n    the source\n    ^"

    lines = Lines()
    MailLog(lines).rule_problem(Mistake(severity=severity))  # type: ignore[arg-type]
    ((urgency, _),) = lines.written
    assert urgency is priority
    assert lines.fields == [{"event": "rule-problem", "problem": "policy.yaml:3:5: what is wrong"}]


def test_a_fault_is_said_with_its_traceback() -> None:
    lines = Lines()
    fault = failure()
    MailLog(lines).deciding_failed(Request({}), fault.value)  # type: ignore[arg-type]
    MailLog(lines).task_failed("tidy", fault)  # type: ignore[arg-type]
    for fields in lines.fields:
        assert fields["error"].startswith("ValueError(")
        assert "in failure" in fields["traceback"]
        assert fields["traceback"].count("\n") >= 3
