"""Answers that are given again to repeated requests."""

import pytest
from aup.building import START, request
from conftest import Lower

from policyd.aup import kept_verdicts
from policyd.aup.kept_verdicts import KEPT_FOR, KeptVerdicts
from policyd.clock import Instant, MonotonicTime, WallTime
from policyd.counting.changes import Bucket
from policyd.protocol.reply import PASS, Verdict

REFUSAL = Verdict("REJECT", "5.7.1", "no")


def at(seconds: float) -> MonotonicTime:
    return MonotonicTime(1000 + seconds)


def test_an_answer_is_kept_for_its_time_and_not_longer() -> None:
    kept = KeptVerdicts()
    kept.keep("a", PASS, at(0))
    kept.keep("b", REFUSAL, at(1))
    assert kept.find("a", at(KEPT_FOR - 0.1)) == PASS
    assert kept.find("b", at(KEPT_FOR - 0.1)) == REFUSAL
    assert kept.find("a", at(KEPT_FOR)) is None
    assert kept.find("b", at(KEPT_FOR)) == REFUSAL
    assert kept.find("c", at(2)) is None


def test_the_last_answer_counts_and_begins_its_time_anew() -> None:
    kept = KeptVerdicts()
    kept.keep("a", REFUSAL, at(0))
    kept.keep("b", PASS, at(1))
    kept.keep("a", PASS, at(2))
    kept._check()
    assert kept.find("a", at(KEPT_FOR + 1)) == PASS
    assert kept.tidy(at(KEPT_FOR + 1), 10) == 1
    assert len(kept) == 1


def test_what_is_too_old_is_forgotten_in_slices() -> None:
    kept = KeptVerdicts()
    for number in range(10):
        kept.keep(str(number), REFUSAL if number % 2 else PASS, at(number))
    assert [kept.tidy(at(KEPT_FOR + 6), 3) for _ in range(4)] == [3, 3, 1, 0]
    kept._check()
    assert [name for name in map(str, range(10)) if kept.find(name, at(KEPT_FOR))] == [
        "7",
        "8",
        "9",
    ]


def instant(seconds: float, wall: float = 0.0) -> Instant:
    return Instant(WallTime(START + seconds + wall), at(seconds))


def test_what_was_kept_is_taken_once_and_goes_on_elsewhere() -> None:
    kept = KeptVerdicts()
    kept.keep("a", PASS, at(0))
    kept.keep("b", REFUSAL, at(1))
    first = kept.take(instant(1).wall)
    kept.keep("c\udcff", Verdict("521", "5.7.1", "no\xff"), at(12))
    second = kept.take(instant(12).wall)
    assert kept.take(instant(13).wall).buckets == []
    again = KeptVerdicts()
    # another process, and another monotonic clock
    again.restore([*first.buckets, *second.buckets], instant(5000, wall=-4980))
    again._check()
    assert again.find("a", at(5001)) == PASS
    assert again.find("b", at(5001)) == REFUSAL
    assert again.find("c\udcff", at(5001)) == Verdict("521", "5.7.1", "no\xff")
    # of the time at which they were given only ten seconds are known
    assert again.find("a", at(5000 + KEPT_FOR - 10.1)) == PASS
    assert again.find("a", at(5000 + KEPT_FOR - 10)) is None


def test_all_that_is_kept_can_be_taken_again() -> None:
    kept = KeptVerdicts()
    kept.keep("a", PASS, at(0))
    kept.take(instant(0).wall)
    kept.keep("b", REFUSAL, at(1))
    (bucket,) = kept.whole(instant(2)).buckets
    assert bucket.entries.keys() == {"a", "b"}
    assert kept.take(instant(3).wall).buckets == []


def test_the_last_of_several_answers_goes_on() -> None:
    kept = KeptVerdicts()
    kept.keep("a", REFUSAL, at(0))
    end, (first,) = kept.take(instant(0).wall).buckets[0].end, kept.whole(instant(0)).buckets
    kept.keep("a", PASS, at(1))
    (second,) = kept.take(instant(1).wall).buckets
    both = {"a": bytes(first.entries["a"]) + bytes(second.entries["a"])}
    again = KeptVerdicts()
    again.restore([Bucket(end, both)], instant(2))
    assert again.find("a", at(3)) == PASS


def test_an_answer_of_the_future_is_one_of_the_present() -> None:
    kept = KeptVerdicts()
    kept.keep("a", REFUSAL, at(0))
    again = KeptVerdicts()
    again.restore(kept.take(instant(0).wall).buckets, instant(100, wall=-(10**8)))
    assert again.find("a", at(100 + KEPT_FOR - 1)) == REFUSAL
    assert again.find("a", at(100 + KEPT_FOR)) is None


NO_ANSWERS = ["", "NaN\n", "{}\n", "[]\n", "x\n", '["REJECT"]\n', '["REJECT", "5.7.1", 1]\n']
UNFIT = ['["OK", "", ""]\n', '["REJECT", "9", "no"]\n']


@pytest.mark.parametrize("packed", [7, *map(str.encode, NO_ANSWERS + UNFIT)])
def test_what_is_no_answer_is_never_given(packed: int | bytes) -> None:
    kept = KeptVerdicts()
    with pytest.raises(ValueError, match=r"verdict|answer|status|Expecting"):
        kept.restore([Bucket(START, {"a": packed})], instant(0))  # type: ignore[dict-item]
    assert kept.find("a", at(0)) is None


def test_there_are_never_more_than_the_most(lower: Lower) -> None:
    lower(kept_verdicts, "MOST", 3)
    kept = KeptVerdicts()
    for number in range(10):
        kept.keep(str(number), REFUSAL, at(0))
    assert [kept.tidy(at(0), 4) for _ in range(3)] == [4, 3, 0]
    assert [name for name in map(str, range(10)) if kept.find(name, at(0))] == ["7", "8", "9"]
    # what is forgotten is not written either
    (bucket,) = kept.take(instant(0).wall).buckets
    assert bucket.entries.keys() == {"7", "8", "9"}


def test_a_repetition_is_one_message_of_one_host() -> None:
    asked = {"instance": "1.2", "queue_id": "Q", "recipient_count": 2, "size": 30}
    name = KeptVerdicts.name(request("END-OF-MESSAGE", **asked), "mx1")
    assert KeptVerdicts.name(request("END-OF-MESSAGE", sender="other", **asked), "mx1") == name
    others = [asked | {key: "9"} for key in asked]
    names = {KeptVerdicts.name(request("END-OF-MESSAGE", **other), "mx1") for other in others}
    names.add(KeptVerdicts.name(request("END-OF-MESSAGE", **asked), "mx2"))
    assert len(names | {name}) == 6
