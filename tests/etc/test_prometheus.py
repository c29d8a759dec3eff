"""What is shipped for Prometheus and Grafana: it is right, and about figures that there are."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from etc.promtool import promtool
from service.metered import Metered

from policyd.service.addresses import parse_listen
from policyd.service.maillog import MailLog

ROOT = Path(__file__).parents[2]
RULES = ROOT / "etc/prometheus/policyd.rules.yml"
SCRAPE = ROOT / "etc/prometheus/prometheus.yml.example"
DASHBOARD = ROOT / "etc/grafana/policyd.json"


@pytest.fixture
def metered(tmp_path: Path) -> Metered:
    metered = Metered(tmp_path)
    metered.persistence.load(metered.engine.policy)
    for number in range(4):
        metered.mail(number)
    metered.persistence._copied = metered.now().monotonic
    metered.persistence.snapshot_took = 0.1
    return metered


@pytest.fixture
def alerts() -> list[dict[str, Any]]:
    (group,) = yaml.safe_load(RULES.read_text())["groups"]
    return list(group["rules"])


@pytest.fixture
def panels() -> list[dict[str, Any]]:
    return list(json.loads(DASHBOARD.read_text())["panels"])


def named(expressions: list[str]) -> set[str]:
    """Return the metrics that *expressions* are about."""
    return {
        re.sub(r"_(bucket|sum|count)$", "", name)
        for text in expressions
        for name in re.findall(r"\b(?:policyd|process)_\w+", text)
    }


def test_promtool_reads_the_metrics_without_a_word(metered: Metered) -> None:
    assert promtool("check", "metrics", given=metered.metrics.text()) == ""


def test_promtool_would_say_if_it_did_not() -> None:
    with pytest.raises(AssertionError, match="no help text"):
        promtool("check", "metrics", given=b"# TYPE a counter\na 1\n")


def test_promtool_takes_the_alerts() -> None:
    assert "SUCCESS: 22 rules found" in promtool("check", "rules", RULES)


def test_promtool_takes_the_scrape_and_finds_the_alerts_beside_it() -> None:
    said = promtool("check", "config", SCRAPE)
    assert "1 rule files found" in said


def test_the_alerts_fire_when_they_should_and_not_otherwise() -> None:
    assert "SUCCESS" in promtool(
        "test", "rules", Path(__file__).with_name("policyd.rules.test.yml")
    )


def test_every_alert_tells_the_postmaster_where_and_what_to_do(
    alerts: list[dict[str, Any]],
) -> None:
    for alert in alerts:
        assert alert["labels"]["severity"] in ("page", "ticket")
        summary = alert["annotations"]["summary"]
        assert "$labels.instance" in summary
        assert len(summary) > 80
        assert "  " not in summary


def test_alerts_are_about_figures_that_there_are(
    metered: Metered, alerts: list[dict[str, Any]]
) -> None:
    there = {family.name for family in metered.metrics.families() if family.samples}
    asked = named([alert["expr"] for alert in alerts])
    assert len(asked) > 10
    assert asked <= there


def test_alerts_ask_for_labels_that_there_are(
    metered: Metered, alerts: list[dict[str, Any]], panels: list[dict[str, Any]]
) -> None:
    text = metered.metrics.text().decode()
    expressions = [alert["expr"] for alert in alerts] + list(expressions_of(panels))
    for name, matchers in re.findall(r"\b((?:policyd)_\w+)\{([^}]*)\}", "\n".join(expressions)):
        for label, value in re.findall(r'(\w+)="([^"$]+)"', matchers):
            if label != "job":
                assert re.search(rf'{name}\{{[^}}]*{label}="{re.escape(value)}"', text), (
                    name,
                    label,
                )


def test_alerts_name_events_that_are_logged(alerts: list[dict[str, Any]]) -> None:
    source = Path(MailLog.__module__.replace(".", "/")).with_suffix(".py")
    words = (ROOT / source).read_text()
    events = {
        event
        for alert in alerts
        for event in re.findall(r"event=([a-z-]+)", alert["annotations"]["summary"])
    }
    assert len(events) >= 5
    assert [event for event in events if f'"{event}"' not in words] == []


def expressions_of(panels: list[dict[str, Any]]) -> Iterator[str]:
    for panel in panels:
        for target in panel.get("targets", ()):
            yield target["expr"]


def test_the_dashboard_shows_every_figure_that_there_is(
    metered: Metered, panels: list[dict[str, Any]]
) -> None:
    there = {family.name for family in metered.metrics.families() if family.samples}
    shown = named(list(expressions_of(panels)))
    assert shown <= there
    assert there - shown == {"process_virtual_memory_bytes"}


def test_promtool_takes_what_the_dashboard_asks(
    tmp_path: Path, panels: list[dict[str, Any]]
) -> None:
    rules = [
        {"record": f"panel:{at}", "expr": text.replace("$__rate_interval", "5m")}
        for at, text in enumerate(expressions_of(panels))
    ]
    path = tmp_path / "panels.yml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
    assert f"SUCCESS: {len(rules)} rules found" in promtool("check", "rules", path)


def test_the_dashboard_is_one_that_grafana_imports(panels: list[dict[str, Any]]) -> None:
    board = json.loads(DASHBOARD.read_text())
    assert board["schemaVersion"] >= 38
    assert {"title", "uid", "templating", "time", "panels"} <= set(board)
    assert len({panel["id"] for panel in panels}) == len(panels)
    for panel in panels:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        if panel["type"] != "row":
            assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
    taken = [
        (x, y)
        for place in (panel["gridPos"] for panel in panels)
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(set(taken)) == len(taken)


def test_what_is_scraped_is_where_the_unit_and_make_run_serve() -> None:
    (job,) = yaml.safe_load(SCRAPE.read_text())["scrape_configs"]
    ((target,),) = (static["targets"] for static in job["static_configs"])
    assert job["job_name"] == "policyd"
    address = f"tcp:{target}"
    assert parse_listen(address).is_loopback
    for path in ("systemd/policyd.service", "Makefile"):
        assert f"--metrics {address}" in (ROOT / path).read_text()
