"""Messages that are made to take long do not."""

import time
import tracemalloc

import pytest
from content.hostile import HOSTILE
from content.measuring import fingerprint

from policyd.content.mime import CAP

FAR_TOO_LONG = 2.0
"""Seconds of the processor: none takes a tenth of it, and what grows with the square takes more."""

_MOST_MEMORY = 64e6


@pytest.mark.parametrize("name", HOSTILE)
def test_time(name: str) -> None:
    data = HOSTILE[name](CAP)
    begun = time.process_time()
    fingerprint(data)
    assert time.process_time() - begun < FAR_TOO_LONG


@pytest.mark.parametrize(
    "name", ["one letter that becomes eighteen", "many parts", "tags", "noise"]
)
def test_memory(name: str) -> None:
    data = HOSTILE[name](CAP)
    tracemalloc.start()
    fingerprint(data)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < _MOST_MEMORY


@pytest.mark.parametrize("name", HOSTILE)
def test_whatever_the_size(name: str) -> None:
    for size in (0, 1, 17, 400, 5000):
        fingerprint(HOSTILE[name](size))
