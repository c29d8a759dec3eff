"""A reactor that runs in a test, for real processes and connections."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.epollreactor import EPollReactor
from twisted.python.failure import Failure

PATIENCE = 60.0


def run(work: Callable[[Any], Deferred[Any]]) -> Any:
    """Run a reactor until what *work* returns has fired; return, or raise, the result."""
    results: list[Any] = []
    reactor = EPollReactor()

    def begin() -> None:
        work(reactor).addBoth(over)

    def over(result: Any) -> None:
        if not results:
            results.append(result)
            reactor.stop()

    with signals_kept():
        reactor.callLater(PATIENCE, over, Failure(TimeoutError("nothing came of it")))
        reactor.callWhenRunning(begin)
        reactor.run()
    (result,) = results
    if isinstance(result, Failure):
        result.raiseException()
    return result


@contextmanager
def signals_kept() -> Iterator[None]:
    """Put the handlers of signals back that a reactor sets."""
    before = {number: signal.getsignal(number) for number in signal.valid_signals()}
    try:
        yield
    finally:
        signal.set_wakeup_fd(-1)
        for number, handler in before.items():
            if signal.getsignal(number) != handler:
                signal.signal(number, handler)


def until(reactor: Any, condition: Callable[[], Any]) -> Deferred[None]:
    """Fire when *condition* holds."""
    fulfilled: Deferred[None] = Deferred()

    def look() -> None:
        if condition():
            fulfilled.callback(None)
        else:
            reactor.callLater(0.01, look)

    look()
    return fulfilled
