"""Wait for something, but not for ever."""

import time
from collections.abc import Callable

PATIENCE = 60.0  # seconds; a bound for a broken run, not a measure of a good one


def wait_until(
    condition: Callable[[], object],
    what: str,
    patience: float = PATIENCE,
    every: float = 0.01,
) -> None:
    """Return as soon as *condition* holds; say *what* did not happen when it never does."""
    deadline = time.monotonic() + patience
    while not condition():
        if time.monotonic() > deadline:
            message = f"not within {patience:g} s: {what}"
            raise TimeoutError(message)
        time.sleep(every)
