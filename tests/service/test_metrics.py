"""The figures: what is counted, and how it is written down."""

import gc
import math
from pathlib import Path
from typing import Any

import pytest
from aup.building import limit, policy, request
from service.happenings import incident, opened, suspended, suspension
from service.metered import Metered, samples
from twisted.python.failure import Failure

from policyd.aup.event import Blocked, Exceeded, NearLimit
from policyd.aup.incident import SuspensionKind
from policyd.aup.ladder_rules import Aftermath, LadderRules
from policyd.aup.policy import Action, Count, Mode
from policyd.clock import MonotonicTime, WallTime
from policyd.counting.counters import Figures
from policyd.protocol.reply import PASS, Verdict
from policyd.protocol.request import Stage
from policyd.service import event_figures
from policyd.service.event_figures import HOUR, EventFigures, Recent
from policyd.service.exposition import (
    Family,
    Sample,
    counter,
    counters,
    exposed,
    gauge,
    histogram,
)
from policyd.service.metrics import BEAT_EVERY, LONGEST_TROUBLE
from policyd.service.request_figures import BOUNDS, RequestFigures


@pytest.fixture
def metered(tmp_path: Path) -> Metered:
    return Metered(tmp_path)


# the format


def test_a_family_is_its_help_its_type_and_its_samples() -> None:
    text = exposed([counters("a_total", "What a is.", "kind", {"x": 1, "y": 2.5})])
    assert text == (
        b"# HELP a_total What a is.\n# TYPE a_total counter\n"
        b'a_total{kind="x"} 1\na_total{kind="y"} 2.5\n'
    )


def test_what_stands_in_a_label_is_escaped() -> None:
    text = exposed([Family("a", "gauge", "b\\c\nd", [Sample(1, {"k": 'q"\\\n\udcff'})])])
    assert text == b'# HELP a b\\\\c\\nd\n# TYPE a gauge\na{k="q\\"\\\\\\n?"} 1\n'


def test_what_has_no_value_is_left_out() -> None:
    assert exposed([gauge("a", "b", None), counter("c_total", "d", 0)]).startswith(
        b"# HELP c_total"
    )


@pytest.mark.parametrize(
    ("value", "written"), [(math.inf, b"+Inf"), (-math.inf, b"-Inf"), (1e-05, b"1e-05"), (3, b"3")]
)
def test_numbers_are_written_as_prometheus_reads_them(value: float, written: bytes) -> None:
    assert exposed([gauge("a", "b", value)]).endswith(b"a " + written + b"\n")


def test_a_histogram_adds_up() -> None:
    text = exposed([histogram("h", "help", (0.1, 1.0), [3, 0, 2], 7.5)]).decode()
    assert text.splitlines()[2:] == [
        'h_bucket{le="0.1"} 3',
        'h_bucket{le="1.0"} 3',
        'h_bucket{le="+Inf"} 5',
        "h_sum 7.5",
        "h_count 5",
    ]


# requests


def test_requests_are_counted_by_stage_and_answer(metered: Metered) -> None:
    assert [metered.mail(n) for n in range(4)] == ["DUNNO", "DUNNO", "REJECT", "REJECT"]
    metered.ask("VRFY")
    found = metered.figures()
    assert found['policyd_requests_total{stage="RCPT",answer="DUNNO"}'] == 2
    assert found['policyd_requests_total{stage="RCPT",answer="REJECT"}'] == 2
    assert found['policyd_requests_total{stage="END-OF-MESSAGE",answer="DUNNO"}'] == 2
    assert found['policyd_requests_total{stage="other",answer="DUNNO"}'] == 1
    assert found["policyd_decision_duration_seconds_count"] == 7
    assert found['policyd_decision_duration_seconds_bucket{le="+Inf"}'] == 7
    assert 0 < found["policyd_decision_duration_seconds_sum"] < 7


def test_who_does_not_log_in_is_counted(metered: Metered) -> None:
    metered.ask()
    metered.ask(sasl_username="", ccert_subject="CN=mx")
    assert metered.figures()["policyd_requests_without_login_total"] == 0
    metered.ask(sasl_username="")
    assert metered.figures()["policyd_requests_without_login_total"] == 1


def test_a_fault_counts_as_a_request_that_passed(metered: Metered) -> None:
    metered.engine.decide = None  # type: ignore[assignment, method-assign]
    assert metered.ask() == "DUNNO"
    found = metered.figures()
    assert found["policyd_deciding_faults_total"] == 1
    assert found['policyd_requests_total{stage="RCPT",answer="DUNNO"}'] == 1
    assert found['policyd_log_lines_total{event="deciding-failed"}'] == 1


def test_each_duration_falls_into_one_bucket() -> None:
    figures = RequestFigures()
    for bound in BOUNDS:
        figures.answered(request(), "DUNNO", bound)
    figures.answered(request(), "DUNNO", 1.0)
    assert figures.durations == [1] * (len(BOUNDS) + 1)
    assert figures.seconds == pytest.approx(1.0 + sum(BOUNDS))


def test_counting_a_request_leaves_nothing_for_the_garbage_collector() -> None:
    figures, asked = RequestFigures(), request()
    figures.answered(asked, "DUNNO", 1e-5)
    gc.collect()
    gc.disable()
    try:
        before = gc.get_count()[0]
        for _ in range(1000):
            figures.answered(asked, "DUNNO", 1e-5)
        assert gc.get_count()[0] - before < 10
    finally:
        gc.enable()


# limits


def test_each_excess_is_told_by_limit_stage_action_and_mode(metered: Metered) -> None:
    for number in range(4):
        metered.mail(number)
    found = metered.figures()
    decided = "policyd_decisions_total"
    of_two = 'limit="two",stage="RCPT",action="REJECT",mode="enforce"'
    assert found[f"{decided}{{{of_two}}}"] == 2
    watched = 'limit="watched",stage="END-OF-MESSAGE",action="REJECT",mode="observe"'
    assert found[f"{decided}{{{watched}}}"] == 1
    # what has not happened yet is there too, so that its first time is seen to be an increase
    assert found[f'{decided}{{limit="later",stage="RCPT",action="DEFER",mode="enforce"}}'] == 0
    assert found['policyd_keys{limit="two"}'] == 1
    assert found["policyd_counts_memory_bytes"] > 0
    assert found['policyd_keys_over_limit{limit="two"}'] == 1
    assert found['policyd_keys_over_limit{limit="later"}'] == 0


def test_keys_are_over_a_limit_for_an_hour(metered: Metered) -> None:
    over = 'policyd_keys_over_limit{limit="two"}'
    for number, who in enumerate(["a", "a", "a", "b", "b", "b"]):
        metered.mail(number, sasl_username=who)
        metered.clock.advance(60)
    assert metered.figures()[over] == 2
    metered.clock.advance(HOUR - 200)
    assert metered.figures()[over] == 1
    metered.clock.advance(HOUR)
    assert metered.figures()[over] == 0


def test_of_recent_keys_the_oldest_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_figures, "MOST_RECENT", 3)
    recent = Recent()
    for number in (0, 1, 2, 0, 3):
        recent.see("a" if number < 2 else "b", str(number), MonotonicTime(number))
    assert recent.counts(MonotonicTime(3.0)) == {"a": 1, "b": 2}
    assert recent.counts(MonotonicTime(HOUR + 10)) == {}


def test_one_look_at_recent_keys_takes_bounded_time() -> None:
    recent = Recent()
    for number in range(5000):
        recent.see("a", str(number), MonotonicTime(0.0))
    later = MonotonicTime(HOUR + 1)
    assert [recent.counts(later)["a"] for _ in range(3)] == [3000, 1000, 0]


def test_no_sample_has_the_name_of_a_sender(metered: Metered) -> None:
    for number in range(4):
        metered.mail(number, sender="alice@local.example", client_address="192.0.2.7")
    text = metered.metrics.text().decode()
    for word in ("alice", "away.example", "192.0.2.7", "local.example"):
        assert word not in text


def test_what_is_forgotten_adds_up_over_reports(metered: Metered) -> None:
    evicted = metered.engine.counts.evicted
    for expected in (3, 6):
        evicted["limit two"] += 3
        assert metered.figures()['policyd_evictions_total{series="limit two"}'] == expected
        metered.metrics.evicted(evicted)
        evicted.clear()
        assert metered.figures()['policyd_evictions_total{series="limit two"}'] == expected


# what follows


def exceeded(**changes: Any) -> Exceeded:
    given = {
        "refused": True,
        "stage": Stage.RCPT,
        "limit": limit("two"),
        "most": 2,
        "key": "alice",
        "figures": Figures(2, 0, 1),
        "action": Action("REJECT", "5.7.1"),
        "verdict": Verdict("REJECT", "5.7.1", "no"),
        "account": "alice@local.example",
        "domain": "local.example",
        "request": request(),
    }
    return Exceeded(**{**given, **changes})


def test_every_event_is_counted_under_its_own_figure() -> None:
    figures = EventFigures()
    now = MonotonicTime(0.0)
    near = NearLimit(limit("bulk"), 3, 2, "a@local.example", "local.example", WallTime(0.0))
    domain = suspension(kind=SuspensionKind.DOMAIN, name="local.example")
    blocked = Blocked(Stage.RCPT, domain, PASS, "a", "b", request())
    for event in (near, near, blocked, opened(), opened(observed=True), suspended(), exceeded()):
        figures.happened(event, now)
    assert figures.near.counts(now) == {"bulk": 1}
    assert figures.blocked == {("domain", "RCPT"): 1}
    assert figures.opened == {False: 1, True: 1}
    assert figures.suspended == {"mailbox": 1}
    assert figures.exceeded == {("two", "RCPT", "REJECT", "enforce"): 1}


def test_incidents_and_suspensions_are_what_there_is_now(tmp_path: Path) -> None:
    rules = policy(
        limit("two", "account", count=Count.RECIPIENTS, max=2, strike=True),
        aftermath=Aftermath(ladder=LadderRules()),
    )
    metered = Metered(tmp_path, rules)
    for number in range(3):
        metered.mail(number)
    assert metered.figures()["policyd_incidents_open"] == 1
    assert metered.figures()['policyd_incidents_opened_total{mode="enforce"}'] == 1
    ladder = metered.engine.ladder
    ladder.suspensions.add(suspension(since=WallTime(metered.now().wall)))
    in_force = 'policyd_suspensions_in_force{kind="mailbox"}'
    assert metered.figures()[in_force] == 0
    ladder.take_effect(ladder.suspensions.waiting)
    metered.happened(ladder.events())
    assert metered.figures()[in_force] == 1
    assert metered.figures()['policyd_suspended_total{kind="mailbox"}'] == 1
    assert metered.mail(9) == "REJECT"
    refused = 'policyd_suspended_refusals_total{kind="mailbox",stage="RCPT"}'
    assert metered.figures()[refused] == 1
    metered.clock.advance(2 * 86400)
    ladder.pass_time(metered.now().wall, 100)
    assert metered.figures()["policyd_incidents_open"] == 0


def test_only_the_incidents_that_may_be_open_are_looked_at(metered: Metered) -> None:
    class Old:
        opened = WallTime(0.0)

        @property
        def closed(self) -> None:
            raise AssertionError("looked at")

    incidents: Any = metered.engine.ladder.incidents
    incidents["old"] = Old()
    incidents["new"] = incident(opened=metered.now().wall)
    assert metered.figures()["policyd_incidents_open"] == 1


# the daemon


def test_the_reactor_is_late_by_the_worst_of_the_last_minute(metered: Metered) -> None:
    for late in (0.0, 0.0, 0.4, 0.1):
        metered.clock.advance(BEAT_EVERY + late)
        metered.metrics.beat()
    assert metered.figures()["policyd_reactor_lag_seconds"] == pytest.approx(0.4)
    for _ in range(240):
        metered.clock.advance(BEAT_EVERY)
        metered.metrics.beat()
    assert metered.figures()["policyd_reactor_lag_seconds"] == pytest.approx(0.0, abs=1e-6)


def test_the_state_has_its_ages(metered: Metered) -> None:
    metered.persistence.load(metered.engine.policy)
    metered.clock.advance(40)
    found = metered.figures()
    assert found["policyd_journal_lag_seconds"] == 40
    assert found["policyd_snapshot_age_seconds"] == 40
    assert "policyd_snapshot_duration_seconds" not in found
    assert "policyd_copy_age_seconds" not in found
    assert found["policyd_state_trouble"] == 0


def test_a_reload_that_fails_is_a_figure(metered: Metered) -> None:
    assert metered.figures()["policyd_last_reload_success"] == 1
    metered.clock.advance(100)
    metered.metrics.obeyed()
    obeyed = metered.figures()["policyd_last_successful_reload_timestamp_seconds"]
    assert obeyed == metered.now().wall
    metered.reloader._failed(Failure(ValueError("ours")))  # type: ignore[no-untyped-call]
    assert metered.figures()["policyd_last_reload_success"] == 0


def test_the_process_tells_what_every_process_tells(metered: Metered) -> None:
    found = metered.figures()
    assert found["process_resident_memory_bytes"] > 1_000_000
    assert 3 <= found["process_open_fds"] <= found["process_max_fds"]
    assert found["process_cpu_seconds_total"] > 0
    assert found["process_start_time_seconds"] == metered.now().wall
    (build,) = [name for name in found if name.startswith("policyd_build_info")]
    assert 'python="3.' in build


def test_every_figure_says_what_it_is(metered: Metered) -> None:
    metered.mail(1)
    for family in metered.metrics.families():
        assert family.help.endswith(".")
        assert (family.kind == "counter") is family.name.endswith("_total")
        labels = {name for one in family.samples for name in one.labels}
        assert labels <= set(
            "limit stage action mode answer kind series event le version python twisted".split()
        )


# health


def test_who_is_well_says_so(metered: Metered) -> None:
    metered.persistence.load(metered.engine.policy)
    health = metered.metrics.health()
    assert health.well
    assert health.said["status"] == "ok"
    assert health.said["mode"] == Mode.ENFORCE.value


def test_a_disk_that_takes_nothing_for_long_is_no_health(metered: Metered) -> None:
    metered.persistence.load(metered.engine.policy)
    metered.clock.advance(LONGEST_TROUBLE + 1)
    health = metered.metrics.health()
    assert not health.well
    assert health.said.items() >= {"status": "state-trouble", "state": "trouble"}.items()


def test_a_mistake_in_the_rules_is_told_but_mail_is_answered(metered: Metered) -> None:
    metered.persistence.load(metered.engine.policy)
    metered.reloader.is_good = False
    health = metered.metrics.health()
    assert health.well
    assert health.said["reload"] == "failed"


def test_who_stops_is_not_well(metered: Metered) -> None:
    metered.metrics.stopping = True
    assert metered.metrics.health().said["status"] == "stopping"


def test_a_scrape_is_the_same_in_two_readings(metered: Metered) -> None:
    metered.mail(1)
    first, second = (samples(metered.metrics.text()) for _ in range(2))
    assert set(first) == set(second)
