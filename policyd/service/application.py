"""The daemon put together: the only place that imports the reactor and reads the clocks."""

import gc
import os
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred, DeferredList, maybeDeferred
from twisted.internet.interfaces import IListeningPort
from twisted.logger import ILogObserver, LogEvent, LogLevel, formatEvent, globalLogPublisher
from twisted.python.failure import Failure
from zope.interface import implementer

from policyd import __version__
from policyd.aup.event import Blocked, Decided, Event, Exceeded, IncidentOpened
from policyd.aup.policy import Policy
from policyd.clock import Instant, MonotonicTime, WallTime
from policyd.config.load import Loaded
from policyd.service.addresses import ListenAddress, UnixAddress
from policyd.service.admin_request import Command
from policyd.service.admin_socket import ADMINISTRATORS, AdminService
from policyd.service.administration import Administration
from policyd.service.audit import Audit
from policyd.service.background import take_short_turns
from policyd.service.controlling import Controlling
from policyd.service.dialogue import Answering
from policyd.service.explaining import Explaining
from policyd.service.hook_running import Beginning
from policyd.service.hooks import Hooks
from policyd.service.listeners import ListenError, adopt, listen
from policyd.service.log_writer import LogWriter, Priority
from policyd.service.maillog import MailLog
from policyd.service.metrics import BEAT_EVERY, Metrics, Sources
from policyd.service.metrics_server import MetricsService
from policyd.service.notice_queue import NOTICES, Outside
from policyd.service.notices import Notices
from policyd.service.overview import Overview
from policyd.service.periodic import Periodic
from policyd.service.persistence import JOURNAL_EVERY, Persistence
from policyd.service.policy_server import PolicyService
from policyd.service.reload import Reloader
from policyd.service.reporting import Reporting
from policyd.service.showing import Showing
from policyd.service.shown_content import ShownContent
from policyd.service.smtp_sending import SmtpSending
from policyd.service.systemd import (
    InheritedSocket,
    InheritedSocketError,
    Notifier,
    inherited_sockets,
)
from policyd.service.tailing import Tailing
from policyd.service.walking import Walks
from policyd.service.wiring_counts import Listening, WiringCommand
from policyd.storage.files import StateInUseError

reactor: Any = _reactor
_CANNOT_SERVE = 71
"""Exit code, EX_OSERR of sysexits(3): the rules are right, but the system does not let us serve."""

_MILTER = "milter"
"""The name that a socket for content is inherited by."""

_TIDY_EVERY = 1.0
TIDY_STEPS = 250
"""Entries forgotten in one turn of the reactor, a millisecond or two of work."""

_COPY_EVERY = 3600.0
"""Seconds between two hot copies of the state."""

_REPORT_EVERY = 60.0
"""Seconds between two lines about what is forgotten for want of memory."""

_WATCH_EVERY = 2.0
"""Seconds between two looks at the list files."""


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line says; *state* and *listen* are None and empty for the defaults.

    Without *admin* there is no socket for administrators, without *metrics* none for figures. At
    *milter* Postfix shows content.
    """

    config: Path
    listen: tuple[ListenAddress, ...]
    default_listen: ListenAddress
    state: Path | None
    log_level: Priority
    admin: UnixAddress | None = None
    metrics: ListenAddress | None = None
    milter: tuple[ListenAddress, ...] = ()


def now() -> Instant:
    """Return the present on both clocks."""
    return Instant(WallTime(time.time()), MonotonicTime(time.monotonic()))


def serve(
    options: Options,
    loaded: Loaded,
    policy: Policy,
    greet: Callable[[Sequence[str], Path], None],
) -> int:
    """Serve *policy* until a signal ends it and return the exit code.

    *greet* is called with the addresses listened on and the state directory, once they are known.
    """
    # The reactor's own clock is the wall's, and a step back would stop every timer.
    reactor.seconds = time.monotonic
    take_short_turns()
    writer = LogWriter(sys.stderr.fileno(), options.log_level, os.environ)
    log = MailLog(writer)
    globalLogPublisher.addObserver(_CriticalTo(log))
    daemon = _Daemon(options, loaded, log)
    try:
        daemon.start(policy)
        greet(daemon.listening, daemon.directory)
        gc.collect()
        gc.freeze()  # what is loaded stays; no collection need look at it
        reactor.run()
    except (ListenError, InheritedSocketError, StateInUseError) as error:
        sys.stderr.write(f"policyd: {error}\n")
        return _CANNOT_SERVE
    except Exception:  # noqa: BLE001 - Python's own exit code would say that the rules are wrong
        traceback.print_exc()
        return _CANNOT_SERVE
    finally:
        writer.close()
    return 0


class _Daemon:
    """Everything that lives as long as the process."""

    def __init__(self, options: Options, loaded: Loaded, log: MailLog) -> None:
        self._options = options
        self._log = log
        self._notifier = Notifier(os.environ, os.getpid())
        self._reloader = Reloader(options.config, loaded, self._obey, self._settled, log, now=now)
        self.listening: list[str] = []
        self.milters: list[str] = []
        self._ports: list[IListeningPort] = []
        self._flushing = False
        self._tidying = False

    def start(self, policy: Policy) -> None:
        """Begin to serve."""
        self.directory = self._options.state or Path(policy.state.directory)
        self._persistence = Persistence(self.directory, self._log, now)
        self._engine = self._persistence.load(policy)
        self._engine.trace = self._log.shows_requests
        answering = Answering(self._engine, self._log, now, self._happened)
        self._service = PolicyService(answering, reactor)
        secret = self._persistence.secret
        self._contents = ShownContent(self._engine, secret, self._log, now, self._happened)
        self._notices = self._notify()
        self._hooks = Hooks(
            reactor, lambda: self._engine.policy, self._log, now, Beginning(reactor)
        )
        audit = Audit(self._persistence, self._flush, self._log, now)
        sources = self._sources()
        self._metrics = Metrics(sources, now)
        self._admin = AdminService(self._commands(sources, audit), self._log, reactor)
        self._listen()
        signal.signal(signal.SIGHUP, lambda *_: reactor.callFromThread(self._hang_up))
        self._periodic("journal", JOURNAL_EVERY, self._flush)
        self._periodic("copy", _COPY_EVERY, self._persistence.copy)
        self._periodic("tidy", _TIDY_EVERY, lambda: None if self._tidying else self._tidy())
        self._periodic("report", _REPORT_EVERY, self._report)
        self._periodic("watch", _WATCH_EVERY, self._reloader.watch)
        self._periodic("beat", BEAT_EVERY, self._metrics.beat)
        if (interval := self._notifier.watchdog_interval) is not None:
            self._periodic("watchdog", interval, self._notifier.watchdog)
        reactor.addSystemEventTrigger("before", "shutdown", self._stop)
        reactor.callWhenRunning(self._ready)

    def _notify(self) -> Notices:
        sending = SmtpSending(reactor, socket.gethostname())
        outside = Outside(self._log, now, reactor, self._persistence.note, sending)
        notices = Notices(lambda: self._engine.policy, self._engine.ladder, outside)
        notices.restore(self._persistence.rows.get(NOTICES, ()))
        self._persistence.keeps(notices.entries)
        return notices

    def _commands(self, sources: Sources, audit: Audit) -> Mapping[str, Command]:
        """Return administrators' commands by name."""
        engine, walks = self._engine, Walks(reactor)
        return {
            **Administration(engine, audit, now, self._notices.is_owed).commands,
            **Explaining(engine, self._service.hosts, now).commands,
            **Overview(sources, self.listening, walks, now).commands,
            **Showing(engine, walks, now).commands,
            **Controlling(sources, audit, walks, now).commands,
            **Reporting(engine, walks, now).commands,
            **Tailing(self._log.recent, engine).commands,
            **self._wiring().commands,
        }

    def _wiring(self) -> WiringCommand:
        service = self._service
        listening = Listening(self.listening, self.milters)
        return WiringCommand(service.answering.figures, listening, lambda: self._engine.policy, now)

    def _sources(self) -> Sources:
        return Sources(
            engine=self._engine,
            service=self._service,
            contents=self._contents,
            persistence=self._persistence,
            notices=self._notices.queue,
            hooks=self._hooks,
            reloader=self._reloader,
            log=self._log,
        )

    def _listen(self) -> None:
        inherited: list[InheritedSocket] = inherited_sockets(os.environ, os.getpid())
        for taken in inherited:
            is_milter = taken.name == _MILTER
            where = self.milters if is_milter else self.listening
            self._say_listening(where, str(taken), loopback=taken.is_loopback)
            factory = self._contents.service if is_milter else self._service
            self._ports.append(adopt(reactor, taken, factory))
        addresses = self._options.listen
        if not self.listening and not addresses:
            addresses = (self._options.default_listen,)
        for address in addresses:
            self._ports.append(listen(reactor, address, self._service))
            self._say_listening(self.listening, str(address), loopback=address.is_loopback)
        for address in self._options.milter:
            self._ports.append(listen(reactor, address, self._contents.service))
            self._say_listening(self.milters, str(address), loopback=address.is_loopback)
        if self.milters:
            self._contents.begin()
        if self._options.admin is not None:
            try:
                port = listen(reactor, self._options.admin, self._admin, ADMINISTRATORS)
                self._ports.append(port)
            except ListenError as error:
                self._log.admin_unavailable(str(error))
        if self._options.metrics is not None:
            self._listen_for_scrapes(self._options.metrics)

    def _listen_for_scrapes(self, address: ListenAddress) -> None:
        """Let figures be read; also while the daemon stops, which takes a while."""
        try:
            listen(reactor, address, MetricsService(self._metrics, self._log, reactor))
        except ListenError as error:
            self._log.metrics_unavailable(str(error))
            return
        if not address.is_loopback:
            self._log.open_to_the_net(str(address))

    def _say_listening(self, where: list[str], address: str, *, loopback: bool) -> None:
        where.append(address)
        if not loopback:
            self._log.open_to_the_net(address)

    def _periodic(
        self, name: str, interval: float, work: Callable[[], Deferred[Any] | None]
    ) -> Periodic:
        periodic = Periodic(reactor, name, interval, work, self._log.task_failed)
        periodic.start()
        return periodic

    def _ready(self) -> None:
        policy = self._engine.policy
        where = self.listening, self.milters
        self._log.started(__version__, *where, policy.mode.value, _ids(policy))
        self._settled()

    def _settled(self) -> None:
        """Tell the service manager that the rules are in force, old or new."""
        policy = self._engine.policy
        where = ", ".join(self.listening)
        self._notifier.ready(f"{policy.mode.value}: {len(policy.limits)} limits on {where}")

    def _hang_up(self) -> None:
        self._notifier.reloading()
        self._reloader.reload("SIGHUP")

    def _obey(self, policy: Policy, why: str) -> None:
        if self._options.state is None and self.directory != Path(policy.state.directory):
            self._log.needs_restart("state.directory")
        emptied = self._engine.obey(policy, now())
        self._metrics.obeyed()
        self._log.reloaded(policy.mode.value, _ids(policy), emptied, why)

    def _happened(self, events: Sequence[Event]) -> None:
        """Pass on what the engine tells; what is durable at once goes to the disk at once."""
        opened = False
        for event in events:
            self._log.happened(event)
            self._metrics.happened(event)
            if not isinstance(event, Exceeded | Decided | Blocked):
                self._follow_up(event)
                opened = opened or isinstance(event, IncidentOpened)
        if (opened or self._engine.ladder.suspensions.waiting) and not self._flushing:
            self._flushing = True
            reactor.callLater(0, self._flush)

    def _follow_up(self, event: Event) -> None:
        """Tell others of *event*; our own faults are no reason not to answer."""
        for tell in (self._notices.happened, self._hooks.happened):
            try:
                tell(event)
            except Exception:  # noqa: BLE001
                self._log.task_failed("follow-up", Failure())  # type: ignore[no-untyped-call]

    def _flush(self) -> Deferred[None]:
        self._flushing = True
        return self._persistence.flush(self._engine).addCallback(self._flushed)

    def _flushed(self, _: None) -> None:
        self._flushing = False
        self._happened(self._engine.ladder.events())

    def _tidy(self) -> None:
        more = self._engine.tidy(now(), TIDY_STEPS) >= TIDY_STEPS
        self._happened(self._engine.ladder.events())
        self._tidying = more
        if more:
            reactor.callLater(0, self._tidy)

    def _report(self) -> None:
        evicted = self._engine.counts.evicted
        if evicted:
            self._log.evicted(evicted)
            self._metrics.evicted(evicted)
            evicted.clear()

    def _stop(self) -> Deferred[Any]:
        """Count nothing more and write what was counted."""
        self._log.stopping()
        self._notifier.stopping()
        self._metrics.stopping = True
        self._service.close()
        self._contents.service.close()
        self._admin.close()
        closed = DeferredList([maybeDeferred(port.stopListening) for port in self._ports])
        closed.addCallback(lambda _: DeferredList([self._notices.stop(), self._hooks.stop()]))
        return closed.addCallback(lambda _: self._persistence.stop(self._engine))


def _ids(policy: Policy) -> str:
    return ",".join(limit.id for limit in policy.limits)


@implementer(ILogObserver)
class _CriticalTo:
    """Pass on to *log* what Twisted calls critical, such as a failure that nobody handled."""

    def __init__(self, log: MailLog) -> None:
        self._log = log

    def __call__(self, event: LogEvent) -> None:
        if event.get("log_level") is LogLevel.critical:
            failure = event.get("log_failure")
            self._log.twisted_failed(failure.getTraceback() if failure else formatEvent(event))
