"""The two forms of these tests: a short one for every change, and a long one.

POLICYD_FUZZ=long tries much more. POLICYD_FUZZ_SEED repeats a run.
"""

import os
import random
from pathlib import Path
from typing import Final

from hypothesis import HealthCheck, settings

LONG: Final = os.environ.get("POLICYD_FUZZ", "short") == "long"
SEED: Final = int(os.environ.get("POLICYD_FUZZ_SEED") or random.SystemRandom().getrandbits(32))
SEEDS: Final = Path(__file__).with_name("seeds")

CHECKS: Final = settings(
    deadline=None,
    max_examples=20_000 if LONG else 200,
    suppress_health_check=[HealthCheck.too_slow],
)


def times(short: int, long: int) -> int:
    """Return how often something is tried."""
    return long if LONG else short


def seeds(kind: str) -> list[bytes]:
    """Return the seeds of one *kind*, a file each."""
    return [path.read_bytes() for path in sorted((SEEDS / kind).iterdir())]
