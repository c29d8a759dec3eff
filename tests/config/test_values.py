"""Numbers, sizes, durations: what is one, what it is worth, and what is none."""

import re
from datetime import date
from typing import TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policyd.config.kinds import Kind
from policyd.config.nodes import Scalar
from policyd.config.problem import Place, Problems, RuleError, Source
from policyd.config.quantities import (
    AmountKind,
    Duration,
    Number,
    Percentage,
    ToleranceKind,
    as_duration,
    as_size,
)
from policyd.config.words import Boolean, Date

T = TypeVar("T")

UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
SIZES = {"B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}


def read(kind: Kind[T], text: str, *, quoted: bool = False) -> T:
    return kind.read(Scalar(Place(Source("policy.yaml")), text, quoted), Problems())


def refused(kind: Kind[T], text: str) -> RuleError:
    with pytest.raises(RuleError) as caught:
        read(kind, text)
    assert caught.value.hint
    return caught.value


def hint_at(kind: Kind[T], text: str) -> str:
    """Return the hint at *text*, or nothing when it is right."""
    try:
        read(kind, text)
    except RuleError as error:
        return error.hint
    return ""


@given(number=st.integers(0, 10**15 - 1))
def test_numbers_are_decimal(number: int) -> None:
    assert read(Number(1), str(number)) == number
    assert read(AmountKind(), str(number)) == (number, False)
    with pytest.raises(RuleError):
        read(Number(1), str(number), quoted=True)
    refused(Number(1), f"0{number}")
    refused(Number(1), f"-{number}")


@given(text=st.text(max_size=30).filter(lambda text: not re.fullmatch("0|[1-9][0-9]*", text)))
def test_nothing_else_is_a_number(text: str) -> None:
    refused(Number(1), text)


@given(number=st.integers(0, 10**15 - 1), unit=st.sampled_from(sorted(SIZES)))
def test_sizes(number: int, unit: str) -> None:
    size = number * SIZES[unit]
    if size < 10**15:
        assert read(AmountKind(), f"{number}{unit}") == (size, True)
        assert read(ToleranceKind(), f"{number}{unit}") == (size, False)
    else:
        refused(AmountKind(), f"{number}{unit}")


@given(number=st.integers(1, 10**15 - 1) | st.integers(1, 10**6).map(lambda n: n * 2**20))
def test_sizes_are_read_as_they_are_written(number: int) -> None:
    assert read(AmountKind(), as_size(number)) == (number, True)


@given(seconds=st.integers(1, 400 * 86400))
def test_durations_are_read_as_they_are_written(seconds: int) -> None:
    assert read(Duration("24h"), as_duration(seconds)) == seconds


@given(number=st.integers(0, 10**9), unit=st.sampled_from(sorted(UNITS)))
def test_durations_have_bounds(number: int, unit: str) -> None:
    seconds = number * UNITS[unit]
    if 1 <= seconds <= 400 * 86400:
        assert read(Duration("24h"), f"{number}{unit}") == seconds
    else:
        refused(Duration("24h"), f"{number}{unit}")


@given(
    text=st.from_regex(
        r"[0-9.]{1,5} ?(s|m|min|h|hours|d|days|w|y)?([0-9]{1,3}[smh])?", fullmatch=True
    )
)
def test_the_fix_of_a_duration_is_one(text: str) -> None:
    hint = hint_at(Duration("24h"), text)
    if fix := re.fullmatch("write ([0-9]+[a-z])", hint):
        assert read(Duration("24h"), fix[1]) >= 1


@given(text=st.from_regex(r"[0-9]{1,4}(\.[0-9])? ?[kKmMgGtT]i?[bB]?(ytes)?", fullmatch=True))
def test_the_fix_of_a_size_is_one(text: str) -> None:
    hint = hint_at(AmountKind(), text)
    if hint.startswith("write ") and hint != "write less":
        assert read(AmountKind(), hint.removeprefix("write ")).is_size


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("1h30m", "write 90m"),
        ("1.5h", "write 90m"),
        ("24 h", "write 24h"),
        ("24H", "write 24h"),
        ("10 minutes", "write 10m"),
        ("2days", "write 2d"),
        ("PT24H", "write 24h"),
        ("daily", "write a number and one unit, such as 90s, 10m, 24h or 7d"),
    ],
)
def test_hints_at_durations(text: str, hint: str) -> None:
    assert refused(Duration("24h"), text).hint == hint


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("25mb", "write 25MB"),
        ("25M", "write 25MB"),
        ("25 MiB", "write 25MiB"),
        ("1.5GB", "write 1500MB"),
        ("1.5kB", "write 1500B"),
        ("0.5GiB", "write 512MiB"),
        ("1TB", "write 1000GB"),
        ("2 TiB", "write 2048GiB"),
    ],
)
def test_hints_at_sizes(text: str, hint: str) -> None:
    assert refused(AmountKind(), text).hint == hint


def test_percentages() -> None:
    assert [read(Percentage("80%"), text) for text in ("1%", "80%", "100%")] == [1, 80, 100]
    for text in ("0%", "101%", "80", "1.5%", "80 %"):
        refused(Percentage("80%"), text)
    assert read(ToleranceKind(), "0.5%") == (0.5, True)
    for text in ("101%", "%", "-1%", "1,5%"):
        refused(ToleranceKind(), text)


def test_only_true_and_false_are_truths() -> None:
    assert read(Boolean(), "true") is True
    assert read(Boolean(), "false") is False
    for text, meant in (("yes", "true"), ("Off", "false"), ("TRUE", "true"), ("0", "false")):
        assert refused(Boolean(), text).hint == f"write {meant}"


@given(day=st.dates(max_value=date(2999, 12, 31)))
def test_dates(day: date) -> None:
    assert read(Date(), str(day)) == day


def test_no_date() -> None:
    for text, hint in (
        ("3000-01-01", "delete the key: no end"),
        ("2030-02-30", "check the month and the day"),
        ("31.1.2030", "write 2030-01-31"),
        ("2030/1/31", "write 2030-01-31"),
        ("2030-01-31T12:00", "write 2030-01-31"),
        ("tomorrow", "write year, month and day, such as 2030-01-31"),
    ):
        assert refused(Date(), text).hint == hint
