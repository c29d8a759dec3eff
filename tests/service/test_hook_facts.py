"""What a hook is told."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from service.happenings import NOON, incident, lifted, opened, suspended, suspension

from policyd.aup.event import ExtremeSpared, IncidentClosed, Suspended
from policyd.aup.incident import Sample, SuspensionKind
from policyd.aup.ladder_rules import HookEvent
from policyd.clock import WallTime
from policyd.service.hook_facts import told

NOW = WallTime(NOON + 3661)
ANY_TEXT = st.one_of(
    st.binary(max_size=30).map(lambda raw: raw.decode("utf-8", "surrogateescape")),
    st.text(st.characters(), max_size=10),  # with surrogates that no decoding gives
)


def object_of(event: Any) -> Any:
    news = told(event, NOW)
    assert news is not None
    assert news.data.isascii()
    assert news.data.endswith(b"}\n")
    assert news.data.count(b"\n") == 1
    return json.loads(news.data)


def test_an_incident_is_told_with_all_that_is_known() -> None:
    event = opened(
        last=WallTime(NOON + 90),
        strike=2,
        messages=2,
        recipients=1652,
        clients=["192.0.2.7", "2001:db8::1"],
        sample=Sample("a@local.example", ["r0@away.example", "r1@away.example"], 3000, "Hello"),
        used=250,
        max=249,
        window=86400,
    )
    assert object_of(event) == {
        "event": "incident-opened",
        "time": "2026-05-04T13:01:01Z",
        "incident": {
            "id": "7KX3PQ2",
            "account": "alice@local.example",
            "domain": "local.example",
            "limit": "bulk",
            "title": "Bulk mail",
            "opened": "2026-05-04T12:00:00Z",
            "last": "2026-05-04T12:01:30Z",
            "strike": 2,
            "messages": 2,
            "recipients": 1652,
            "clients": ["192.0.2.7", "2001:db8::1"],
            "sample": {
                "sender": "a@local.example",
                "recipients": ["r0@away.example", "r1@away.example"],
                "size": 3000,
                "subject": "Hello",
            },
            "used": 250,
            "max": 249,
            "window": 86400,
        },
        "suspension": None,
    }


def test_a_suspension_is_told_with_the_incident_that_led_to_it() -> None:
    event = Suspended(suspension(until=WallTime(NOON + 60), incident="7KX3PQ2"), incident())
    found = object_of(event)
    assert found["event"] == "suspended"
    assert found["incident"]["id"] == "7KX3PQ2"
    assert found["suspension"] == {
        "kind": "mailbox",
        "name": "alice@local.example",
        "since": "2026-05-04T12:00:00Z",
        "until": "2026-05-04T12:01:00Z",
        "by": "ladder",
        "reason": "strike 3",
        "incident": "7KX3PQ2",
        "lifted": None,
        "lifted_by": "",
        "lifted_why": "",
    }


def test_a_suspension_by_an_administrator_has_no_incident_and_may_have_no_end() -> None:
    found = object_of(suspended(kind=SuspensionKind.DOMAIN, name="local.example", by="root"))
    assert found["incident"] is None
    assert found["suspension"]["kind"] == "domain"
    assert found["suspension"]["until"] is None


def test_a_lifted_suspension_says_who_lifted_it_and_one_that_has_ended_says_nobody() -> None:
    found = object_of(lifted(lifted=WallTime(NOON + 1), lifted_by="root", lifted_why="cleaned"))
    assert found["event"] == "lifted"
    assert found["incident"] is None
    assert found["suspension"]["lifted"] == "2026-05-04T12:00:01Z"
    assert found["suspension"]["lifted_by"] == "root"
    assert found["suspension"]["lifted_why"] == "cleaned"
    assert object_of(lifted(until=WallTime(NOON)))["suspension"]["lifted"] is None


@pytest.mark.parametrize(
    ("event", "on", "about"),
    [
        (opened(), HookEvent.INCIDENT_OPENED, "incident 7KX3PQ2"),
        (suspended(), HookEvent.SUSPENDED, "mailbox alice@local.example"),
        (lifted(), HookEvent.LIFTED, "mailbox alice@local.example"),
    ],
)
def test_what_it_is_about_has_a_name(event: Any, on: HookEvent, about: str) -> None:
    news = told(event, NOW)
    assert news is not None
    assert (news.on, news.about) == (on, about)


@pytest.mark.parametrize(
    "event", [opened(observed=True), IncidentClosed(incident()), ExtremeSpared(incident())]
)
def test_other_events_and_what_is_only_observed_are_nothing_for_hooks(event: Any) -> None:
    assert told(event, NOW) is None


@settings(deadline=None)
@given(ANY_TEXT, ANY_TEXT, ANY_TEXT)
def test_no_address_breaks_the_object(account: str, sender: str, recipient: str) -> None:
    event = Suspended(
        suspension(name=account, reason=sender),
        incident(account=account, clients=[sender], sample=Sample(sender, [recipient], 1)),
    )
    found = object_of(event)
    texts = [
        (account, found["incident"]["account"]),
        (account, found["suspension"]["name"]),
        (sender, found["suspension"]["reason"]),
        (sender, found["incident"]["clients"][0]),
        (sender, found["incident"]["sample"]["sender"]),
        (recipient, found["incident"]["sample"]["recipients"][0]),
    ]
    for was, shown in texts:
        shown.encode("utf-8")  # no surrogate is left, at which strict readers refuse the object
        assert shown == was or any("\ud800" <= character <= "\udfff" for character in was)


def test_a_byte_that_is_no_utf8_can_still_be_read() -> None:
    event = opened(account="al\udcffce@local.example", title='a "b"\n\x00\u2028ö')
    assert object_of(event)["incident"]["account"] == "al\\udcffce@local.example"
    assert object_of(event)["incident"]["title"] == 'a "b"\n\x00\u2028ö'
