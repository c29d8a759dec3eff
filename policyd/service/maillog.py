"""What policyd says: one line an event, in key=value, whatever strangers put into an address.

Everything that is logged has a method here, which owns its words. The journal adds time and name.
"""

import json
import re
import traceback
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Final

from twisted.python.failure import Failure

from policyd.aup.event import Event
from policyd.compiled import core
from policyd.config.problem import Problem, Severity
from policyd.protocol.request import Request
from policyd.service.event_lines import said
from policyd.service.log_ring import LogRing
from policyd.service.log_writer import LogWriter, Priority

_PLAIN: Final = re.compile(r"[A-Za-z0-9@._+:/<>,*-]+")

Value = str | int | float


def line(event: str, **fields: Value) -> str:
    """Return one log line: what is not plain is quoted as JSON, in ASCII, on one line."""
    return " ".join([f"event={event}", *(f"{k}={_quoted(str(v))}" for k, v in fields.items())])


def _quoted(text: str) -> str:
    if _PLAIN.fullmatch(text):
        return text
    # JSON lets DEL pass as it is
    return json.dumps(text, ensure_ascii=True).replace("\x7f", "\\u007f")


class MailLog:
    """The log of the daemon; *said* is how often it has said what, *recent* what it said last."""

    def __init__(self, writer: LogWriter) -> None:
        self.said: Counter[str] = Counter()
        self.recent = LogRing()
        self._writer = writer

    @property
    def lost(self) -> int:
        """How many lines were lost, as nobody read them in time."""
        return self._writer.lost

    @property
    def shows_requests(self) -> bool:
        """Whether every request is logged."""
        return self._writer.least >= Priority.DEBUG

    def started(
        self,
        version: str,
        listeners: Iterable[str],
        milters: Iterable[str],
        mode: str,
        limits: str,
    ) -> None:
        """Say that requests are answered from now on, and where content is looked at."""
        shown = ",".join(milters)
        self._say(
            Priority.NOTICE,
            "started",
            version=version,
            core=core(),
            listen=",".join(listeners),
            **({"milter": shown} if shown else {}),
            mode=mode,
            limits=limits,
        )

    def stopping(self) -> None:
        """Say that the daemon was asked to stop."""
        self._say(Priority.NOTICE, "stopping")

    def reloaded(self, mode: str, limits: str, emptied: Iterable[str], why: str) -> None:
        """Say that new rules are obeyed, and which limits start *emptied*."""
        fields = {"why": why, "mode": mode, "limits": limits}
        self._say(Priority.NOTICE, "reloaded", **fields, **_emptied(emptied))

    def reload_failed(self, why: str) -> None:
        """Say that the rules are as they were, as the new ones are wrong."""
        self._say(Priority.ERROR, "reload-failed", why=why, rules="the old ones stay")

    def rule_problem(self, problem: Problem) -> None:
        """Say what is wrong, or unwise, in the rule file."""
        is_error = problem.severity is Severity.ERROR
        first, _, _ = str(problem).partition("\n")
        self._say(Priority.ERROR if is_error else Priority.WARNING, "rule-problem", problem=first)

    def needs_restart(self, key: str) -> None:
        """Say that a changed *key* of the rule file counts only from the next start on."""
        self._say(Priority.WARNING, "needs-restart", key=key)

    def open_to_the_net(self, address: str) -> None:
        """Warn of a listener that other machines can reach."""
        self._say(
            Priority.WARNING,
            "listens-beyond-loopback",
            listen=address,
            advice="the protocol has no authentication; keep strangers out by a firewall",
        )

    def bad_request(self, peer: str, problem: str) -> None:
        """Say what a peer sent that Postfix would not."""
        self._say(Priority.WARNING, "bad-request", peer=peer, problem=problem)

    def deciding_failed(self, request: Request, error: BaseException) -> None:
        """Say that a request was passed because of a fault of ours."""
        self._say(
            Priority.ERROR,
            "deciding-failed",
            error=repr(error),
            answer="DUNNO",
            request=repr(request),
            traceback="".join(traceback.format_exception(error)),
        )

    def task_failed(self, task: str, failure: Failure) -> None:
        """Say that a recurring task met a fault of ours; it goes on."""
        self._say(
            Priority.ERROR,
            "task-failed",
            task=task,
            error=repr(failure.value),
            traceback=failure.getTraceback(),
        )

    def twisted_failed(self, text: str) -> None:
        """Pass on what Twisted calls critical."""
        self._say(Priority.ERROR, "internal-error", text=text)

    def state_loaded(self, directory: str, emptied: Iterable[str]) -> None:
        """Say that the counts of the last run go on."""
        self._say(Priority.INFO, "state-loaded", directory=directory, **_emptied(emptied))

    def state_problem(self, problem: str) -> None:
        """Say what is wrong with what was kept, and what counting goes on from instead."""
        self._say(Priority.ERROR, "state-problem", problem=problem)

    def state_not_copied(self, error: object) -> None:
        """Say that the copy of the state is as old as it was."""
        self._say(Priority.ERROR, "state-not-copied", error=repr(error))

    def evicted(self, entries: Mapping[str, int]) -> None:
        """Say how much was forgotten for want of memory, by series."""
        self._say(
            Priority.WARNING,
            "evicted",
            entries=sum(entries.values()),
            of=" ".join(f"{name}={number}" for name, number in entries.items()),
            cure="raise state.max_keys or state.max_memory, or find out who invents senders",
        )

    def state_trouble(self, error: object) -> None:
        """Say that the counts cannot be written for now."""
        self._say(
            Priority.ERROR, "state-trouble", error=repr(error), counts="go on in memory, retrying"
        )

    def state_saved_again(self) -> None:
        """Say that the trouble is over."""
        self._say(Priority.NOTICE, "state-saved-again")

    def notice_queued(self, notice: str, recipients: Iterable[str]) -> None:
        """Say that a *notice* waits to be sent."""
        self._say(Priority.DEBUG, "notice-queued", notice=notice, recipients=",".join(recipients))

    def notice_sent(self, notice: str, recipients: Iterable[str]) -> None:
        """Say that the mail server has taken a *notice*."""
        self._say(Priority.INFO, "notice-sent", notice=notice, recipients=",".join(recipients))

    def notice_failed(self, notice: str, why: str, retry: float) -> None:
        """Say that a *notice* could not be sent, and is tried again in *retry* seconds."""
        self._say(
            Priority.WARNING, "notice-failed", notice=notice, why=why, retry_in=f"{retry:.0f}s"
        )

    def notice_refused(self, notice: str, recipient: str, why: str) -> None:
        """Say that a *notice* has reached others, but not this *recipient*, and never will."""
        self._say(Priority.ERROR, "notice-refused", notice=notice, recipient=recipient, why=why)

    def notice_given_up(self, notice: str, why: str) -> None:
        """Say that nobody will get a *notice*."""
        self._say(Priority.ERROR, "notice-given-up", notice=notice, why=why)

    def notices_digested(self, recipients: Iterable[str], incidents: int) -> None:
        """Say that one mail is to tell of several *incidents*."""
        self._say(
            Priority.NOTICE,
            "notices-digested",
            recipients=",".join(recipients),
            incidents=incidents,
        )

    def administered(self, by: str, action: str, subject: str, reason: str) -> None:
        """Say what an administrator changed."""
        fields = {"by": by, "action": action, "subject": subject, "reason": reason}
        self._say(Priority.NOTICE, "administered", **fields)

    def admin_unavailable(self, problem: str) -> None:
        """Say that administrators' commands do not reach the daemon."""
        self._say(
            Priority.WARNING, "admin-unavailable", problem=problem, mail="is answered all the same"
        )

    def metrics_unavailable(self, problem: str) -> None:
        """Say that nobody can read the daemon's figures."""
        fields = {"problem": problem, "mail": "is answered all the same"}
        self._say(Priority.WARNING, "metrics-unavailable", **fields)

    def hook_done(self, hook: str, on: str, about: str) -> None:
        """Say that a *hook* was told what has happened."""
        self._say(Priority.INFO, "hook-done", hook=hook, on=on, about=about)

    def hook_failed(self, hook: str, on: str, about: str, why: str, retry: float) -> None:
        """Say that a *hook* has failed, and is told again in *retry* seconds."""
        fields = {"hook": hook, "on": on, "about": about, "why": why}
        self._say(Priority.WARNING, "hook-failed", **fields, retry_in=f"{retry:.0f}s")

    def hook_given_up(self, hook: str, on: str, about: str, why: str) -> None:
        """Say that a *hook* will not hear of something."""
        self._say(Priority.ERROR, "hook-given-up", hook=hook, on=on, about=about, why=why)

    def hook_dropped(self, count: int, why: str) -> None:
        """Say that hooks will not hear of so many things."""
        self._say(Priority.ERROR, "hook-dropped", count=count, why=why)

    def happened(self, event: Event) -> None:
        """Say what the engine tells."""
        priority, name, fields = said(event)
        self._say(priority, name, **fields)

    def _say(self, priority: Priority, event: str, **fields: Value) -> None:
        self.said[event] += 1
        text = line(event, **fields)
        self._writer.write(priority, text)
        if priority <= self._writer.least:
            self.recent.put(priority.name.lower(), fields, text)


def _emptied(limits: Iterable[str]) -> dict[str, Value]:
    names = ",".join(limits)
    return {"emptied": names} if names else {}
