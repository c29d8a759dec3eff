"""How samples are taken, and what is told of them: the bars, the tables, the curves."""

from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from bench import plot, report
from bench.bars import at_most, bars
from bench.context import NOT_COMPILED
from bench.measure import in_turns, middle, ratio, spread


def samples(*figures: float) -> list[dict[str, Any]]:
    return [
        {"cpu_us": us, "per_second": 1e6 / us, "p99": us, "p50": us, "max": us} for us in figures
    ]


def growth(ours: float) -> dict[str, Any]:
    found = {"1000": ours, "100000": ours, "noop": 10.0, "responder": 4.0, "postfwd": 200.0}
    by_name = {name: samples(us, us, us) for name, us in found.items()}
    return dict.fromkeys(("1", "10", "100"), by_name)


def postfix(policyd: float, responder: float) -> dict[str, Any]:
    """Return samples by the microseconds that a message takes."""
    found = {"policyd": policyd, NOT_COMPILED: 2 * policyd, "responder": responder}
    return {
        name: [one | {"with_postfix_us": us} for one in samples(us, us, us, us)]
        for name, us in found.items()
    }


class Order:
    """Takers that note when they are called."""

    def __init__(self, names: str) -> None:
        self.noted: list[str] = []
        self.takers = {name: lambda number, name=name: self._take(name, number) for name in names}

    def _take(self, name: str, number: int) -> dict[str, Any]:
        self.noted.append(f"{name}{number}")
        return {"number": number}


def test_no_taker_is_always_first_or_always_after_the_same_one() -> None:
    order = Order("abc")
    taken = in_turns(6, order.takers)
    rounds = [order.noted[at : at + 3] for at in range(0, 18, 3)]
    assert [[name[0] for name in one] for one in rounds] == [
        list(names) for names in ("abc", "cba", "bca", "acb", "cab", "bac")
    ]
    assert list(taken) == ["a", "b", "c"]
    for of_one in taken.values():
        assert [sample["number"] for sample in of_one] == list(range(6))


def test_no_round_begins_when_the_time_is_up_and_none_is_cut_short() -> None:
    order = Order("ab")
    in_turns(5, order.takers, at_most=-1.0)
    assert order.noted == ["a0", "b0"]


def test_a_bar_holds_up_to_its_figure() -> None:
    assert at_most("x", 1.35, 1.35, "times").passed
    assert not at_most("x", 1.36, 1.35, "times").passed


def test_a_ratio_is_taken_within_each_round() -> None:
    assert ratio(samples(10, 200, 30), samples(5, 100, 10)) == 2
    assert middle(samples(10, 200, 30)) == 30


def test_a_spread_has_the_quartiles_and_says_what_the_median_may_be_off_by() -> None:
    found = spread(samples(1, 2, 3, 4, 5, 6, 7, 8, 9), samples(*[1] * 9))
    assert (found.low, found.middle, found.high) == (3, 5, 7)
    assert found.off == pytest.approx(1.57 * 4 / 3)
    assert spread(samples(3, 3), samples(1, 1)).off == 0


def test_each_bar_says_whether_it_is_met() -> None:
    assert [bar.passed for bar in bars({"growth": growth(13.0)})] == [True] * 6
    # five times less than postfwd, four times the no-op, and no more for more accounts
    assert [bar.passed for bar in bars({"growth": growth(40.0)})] == [False, False, True] * 2


def test_what_is_not_compiled_has_bars_of_its_own() -> None:
    found = growth(40.0)
    for by_name in found.values():
        by_name[NOT_COMPILED] = samples(13.0, 13.0, 13.0)
    # beside the no-op and postfwd each, the compiled one first; then more accounts beside fewer
    assert [bar.passed for bar in bars({"growth": found})] == [False, False, True, True, True] * 2
    named = [bar.what for bar in bars({"growth": found}) if "not compiled" in bar.what]
    assert named[0] == (
        "CPU per request, 10 connections, 100,000 accounts, not compiled, "
        "beside the no-op on Twisted"
    )
    assert len(named) == 4


def test_postfix_may_be_three_percent_slower() -> None:
    for policyd, passed in ((103.0, True), (104.0, False)):
        ours, plain = bars({"postfix": postfix(policyd, 100.0)})
        assert ours.passed is passed
        assert not plain.passed
        assert plain.what.startswith("not compiled, ")
    assert ours.found == "3.8 %, give or take 0.0 (quartiles 3.8, 3.8)"


def test_a_report_says_which_policyd_is_which(tmp_path: Path) -> None:
    found = growth(13.0)
    found["10"][NOT_COMPILED] = samples(30.0, 30.0, 30.0)
    for connections in ("1", "100"):
        found[connections] = found["10"]
    machine = {"core": "compiled"}
    report.write({"machine": machine, "growth": found, "postfix": postfix(125.0, 100.0)}, tmp_path)
    text = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert "\ncore: compiled\n" in text
    assert "| 10 | policyd, not compiled, 100,000 accounts | 30.0 | 3.00 |" in text
    assert "| policyd | 8,000.0 | 0.800 (0.800 to 0.800) | 125.0 | 125.0 | 1.250 (" in text
    curves = (tmp_path / "cpu-by-connections.svg").read_text(encoding="utf-8")
    assert "policyd, not compiled, 100,000 accounts" in curves
    assert "postfwd" not in curves


def test_a_report_has_bars_and_curves(tmp_path: Path) -> None:
    report.write({"machine": {"cpu": "some"}, "growth": growth(13.0)}, tmp_path)
    text = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert "| 1.30 times | at most 1.35 times | pass |" in text
    for name in ("cpu-by-accounts.svg", "cpu-by-connections.svg"):
        assert f"({name})" in text
        root = ET.parse(tmp_path / name).getroot()
        assert root.findall("{*}polyline")


def test_a_curve_stays_within_its_axes(tmp_path: Path) -> None:
    path = tmp_path / "curve.svg"
    plot.draw(path, "a < b", ("x", "y"), {"one": [(1, 0.0), (1000, 37.2)]})
    root = ET.parse(path).getroot()
    for circle in root.findall("{*}circle"):
        assert plot.LEFT <= float(circle.get("cx", "")) <= plot.WIDTH - plot.RIGHT
        assert plot.TOP <= float(circle.get("cy", "")) <= plot.HEIGHT - plot.BOTTOM
