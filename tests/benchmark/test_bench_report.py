"""What is told of the figures: the bars, the tables, the curves."""

from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

from bench import plot, report
from bench.bars import at_most, bars
from bench.context import NOT_COMPILED
from bench.measure import middle, ratio


def samples(*figures: float) -> list[dict[str, Any]]:
    return [
        {"cpu_us": us, "per_second": 1e6 / us, "p99": us, "p50": us, "max": us} for us in figures
    ]


def growth(ours: float) -> dict[str, Any]:
    found = {"1000": ours, "100000": ours, "noop": 10.0, "responder": 4.0, "postfwd": 200.0}
    by_name = {name: samples(us, us, us) for name, us in found.items()}
    return dict.fromkeys(("1", "10", "100"), by_name)


def test_a_bar_holds_up_to_its_figure() -> None:
    assert at_most("x", 1.35, 1.35, "times").passed
    assert not at_most("x", 1.36, 1.35, "times").passed


def test_a_ratio_is_taken_within_each_round() -> None:
    assert ratio(samples(10, 200, 30), samples(5, 100, 10)) == 2
    assert middle(samples(10, 200, 30)) == 30


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


def test_a_report_says_which_policyd_is_which(tmp_path: Path) -> None:
    found = growth(13.0)
    found["10"][NOT_COMPILED] = samples(30.0, 30.0, 30.0)
    for connections in ("1", "100"):
        found[connections] = found["10"]
    machine = {"core": "compiled"}
    report.write({"machine": machine, "growth": found}, tmp_path)
    text = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert "\ncore: compiled\n" in text
    assert "| 10 | policyd, not compiled, 100,000 accounts | 30.0 | 3.00 |" in text
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
