"""What one step comes to under every limit: nothing is counted before all were tested."""

from collections.abc import Iterator, Sequence

from policyd.aup.answer import Excess
from policyd.aup.applied import Applied
from policyd.clock import WallTime
from policyd.counting.counters import Claim, Figures


class Tested:
    """The limits that a step would exceed, *excesses*, and those that it has *passed*.

    *weighed* are those of the latter that it comes near to, with figures. An *exact* one has them
    of all.
    """

    __slots__ = ("_exact", "excesses", "now", "passed", "weighed")

    def __init__(self, now: WallTime, *, exact: bool = False) -> None:
        self.now = now
        self._exact = exact
        self.excesses: list[Excess] = []
        self.passed: list[tuple[Applied, Sequence[Claim]]] = []
        self.weighed: list[tuple[Applied, Figures]] = []

    def test(self, applied: Applied, claims: Sequence[Claim]) -> None:
        """Test *claims*; of several the one that comes to the most speaks."""
        if not self._exact and not applied.counter.may_exceed(applied.quiet, claims, self.now):
            self.passed.append((applied, claims))
            return
        worst: Figures | None = None
        over: list[tuple[Claim, Figures]] = []
        for claim in claims:
            figures = applied.counter.figures(claim, self.now)
            total = figures.total
            if worst is None or total > worst.total:
                worst = figures
            if total > applied.max:
                over.append((claim, figures))
        if over:
            over.sort(key=lambda one: one[1].total, reverse=True)
            self.excesses.append(Excess(applied, *over[0], over[1:]))
        else:
            self.passed.append((applied, claims))
            if worst is not None:
                self.weighed.append((applied, worst))

    def figures(self) -> Iterator[tuple[str, Figures, int]]:
        """Yield what was tested: id of the limit, figures, maximum."""
        for applied, figures in self.weighed:
            yield applied.limit.id, figures, applied.max
        for excess in self.excesses:
            yield excess.applied.limit.id, excess.figures, excess.applied.max
