"""Answers that are given again to repeated requests."""

from aup.building import request

from policyd.aup.kept_verdicts import KEPT_FOR, KeptVerdicts
from policyd.clock import MonotonicTime
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


def test_a_repetition_is_one_message_of_one_host() -> None:
    asked = {"instance": "1.2", "queue_id": "Q", "recipient_count": 2, "size": 30}
    name = KeptVerdicts.name(request("END-OF-MESSAGE", **asked), "mx1")
    assert KeptVerdicts.name(request("END-OF-MESSAGE", sender="other", **asked), "mx1") == name
    others = [asked | {key: "9"} for key in asked]
    names = {KeptVerdicts.name(request("END-OF-MESSAGE", **other), "mx1") for other in others}
    names.add(KeptVerdicts.name(request("END-OF-MESSAGE", **asked), "mx2"))
    assert len(names | {name}) == 6
