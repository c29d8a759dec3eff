"""What all parts of a run share: how much is asked how often, and the daemons that are filled."""

from dataclasses import dataclass, field
from typing import Any

from bench import measure, rules
from bench.measure import Sample
from bench.subjects import Subject, Subjects

Figures = dict[str, Any]
NOT_COMPILED = "policyd, not compiled"


@dataclass(frozen=True)
class Scale:
    """How thorough a run is."""

    accounts: tuple[int, ...]
    connections: tuple[int, ...]
    rounds: int
    requests: int
    million: int
    """As many keys as are meant by a million."""
    seconds: float
    """How long an open loop lasts."""
    messages: int
    """Through Postfix, in one sample."""


WHOLE = Scale(
    accounts=(1_000, 10_000, 100_000, 1_000_000),
    connections=(1, 10, 100, 1_000),
    rounds=5,
    requests=20_000,
    million=1_000_000,
    seconds=6.0,
    messages=600,
)
QUICK = Scale(
    accounts=(1_000, 10_000),
    connections=(10, 100),
    rounds=3,
    requests=8_000,
    million=20_000,
    seconds=2.0,
    messages=200,
)


@dataclass
class Bench:
    """One run of the benchmark."""

    make: Subjects
    scale: Scale
    peers: bool = False
    plain: Subjects | None = None
    """Makes a policyd that is not compiled, where what is measured is."""
    _filled: dict[int, Subject] = field(default_factory=dict)
    _serial: int = 0

    def filled(self, accounts: int) -> Subject:
        """Return a daemon with the shipped rules to which so many *accounts* have sent mail."""
        if accounts not in self._filled:
            name = f"policyd, {accounts:,} accounts"
            subject = self.make.policyd(rules.shipped(), name, state=f"filled-{accounts}").start()
            measure.filled(subject, accounts)
            self._filled[accounts] = subject
        return self._filled[accounts]

    def release(self, accounts: int) -> Subject:
        """Return the daemon of *filled*, which others do not get any more."""
        subject = self.filled(accounts)
        del self._filled[accounts]
        return subject

    def not_compiled(self, policy: dict[str, Any]) -> dict[str, Subject]:
        """Return the daemon to be beside a compiled one, by its name; none beside another."""
        return {NOT_COMPILED: self.plain.policyd(policy, NOT_COMPILED)} if self.plain else {}

    def snapshot(self, subject: Subject) -> list[str]:
        """Return the command by which *subject* writes a snapshot."""
        return [*self.make.policyd_command, "snapshot", "--socket", str(subject.admin)]

    def ask(self, subject: Subject, **options: float | str | bool) -> Sample:
        """Let *subject* be asked a sample's worth, of messages that were never seen before."""
        self._serial += 1
        given: dict[str, float | str | bool] = {
            "requests": self.scale.requests,
            "warm": self.scale.requests // 10,
            "seed": self._serial,
            "serial": self._serial << 32,
        }
        return measure.asked(subject, measure.GRACE, **given | options)
