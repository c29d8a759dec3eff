"""The figures of what a milter is shown, for Prometheus."""

from collections.abc import Iterator

from policyd.service.exposition import Family, counter, counters, gauge
from policyd.service.shown_content import ShownContent


def of_contents(contents: ShownContent) -> Iterator[Family]:
    """Yield the figures of *contents*."""
    figures = contents.figures
    yield gauge(
        "policyd_milter_connections", "Open milter connections.", len(contents.service.servers)
    )
    yield counters(
        "policyd_milter_messages_total",
        "Messages shown, by what their content is known by.",
        "kind",
        figures.kinds,
    )
    yield counters(
        "policyd_milter_answers_total",
        "Messages shown, by the answer's verb; DUNNO is a pass.",
        "answer",
        figures.answers,
    )
    yield counter(
        "policyd_milter_nameless_total",
        "Messages shown without a queue id, which passed uncounted there.",
        figures.nameless,
    )
    yield counter(
        "policyd_milter_faults_total",
        "Faults in policyd while it looked at content; the mail was answered all the same.",
        contents.faults,
    )
    yield counter(
        "policyd_milter_seconds_total", "What looking at all messages took.", figures.seconds
    )
