"""What the daemon's counts tell."""

import pytest

from policyd.doctor.counts import Counts, faults_of, told
from policyd.doctor.fault import Weight

WELL = {
    "up": 7200.0,
    "connections": 3,
    "rcpt": 30,
    "end": 10,
    "other": 0,
    "nameless": 2,
    "only_loopback": False,
}


def codes(**changes: float | bool) -> list[str]:
    return [fault.code for fault in faults_of(Counts(**(WELL | changes)))]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, []),
        ({"end": 0}, ["rcpt-without-end"]),
        ({"rcpt": 4, "end": 0}, []),
        ({"rcpt": 0}, ["end-without-rcpt"]),
        ({"nameless": 40}, ["never-a-login"]),
        ({"only_loopback": True}, ["loopback-only"]),
        ({"rcpt": 5, "end": 5, "only_loopback": True}, []),
        ({"rcpt": 0, "end": 0, "nameless": 0, "only_loopback": True}, ["nothing-asked"]),
    ],
)
def test_counts(changes: dict[str, float | bool], expected: list[str]) -> None:
    assert codes(**changes) == expected


@pytest.mark.parametrize(("up", "weight"), [(60.0, Weight.HINT), (3600.0, Weight.FAULT)])
def test_after_a_while_it_is_odd_that_nothing_was_asked(up: float, weight: Weight) -> None:
    (fault,) = faults_of(Counts(up, 0, 0, 0, 0, 0, only_loopback=True))
    assert (fault.code, fault.weight) == ("nothing-asked", weight)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (1, "1 seconds"),
        (119, "119 seconds"),
        (120, "2 minutes"),
        (7200, "2 hours"),
        (3e5, "3 days"),
    ],
)
def test_spans(seconds: float, text: str) -> None:
    assert told(seconds) == text
