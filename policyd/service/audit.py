"""Changes that administrators make: on record with who and why, and durable before the answer."""

import pwd
import secrets
from collections.abc import Callable, Iterable, Mapping
from typing import Final, NamedTuple

from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread

from policyd.aup.incident import Entry, Row
from policyd.clock import Instant
from policyd.service.admin_request import Asker
from policyd.service.maillog import MailLog
from policyd.service.persistence import Persistence

AUDIT: Final = "audit"
"""The ledger."""

MOST_KEPT: Final = 10_000
"""Changes on record; older ones are forgotten."""


class Change(NamedTuple):
    """What was changed: the *action* is the command, the *subject* whom or what it was about."""

    by: str
    action: str
    subject: str
    reason: str


class Audit:
    """The record of changes; *flush* writes what changed, *login* tells the name of a user."""

    def __init__(
        self,
        persistence: Persistence,
        flush: Callable[[], Deferred[None]],
        log: MailLog,
        now: Callable[[], Instant],
        login: Callable[[int], Deferred[str]] | None = None,
    ) -> None:
        self._persistence = persistence
        self._flush = flush
        self._log = log
        self._now = now
        self._login = login or login_name
        self._entries = {
            str(row["id"]): Entry(AUDIT, str(row["id"]), _without_id(row))
            for row in persistence.rows.get(AUDIT, ())
        }
        persistence.keeps(self._entries.values)

    async def name(self, asker: Asker) -> str:
        """Return who *asker* is, for the record."""
        login = await self._login(asker.uid)
        return f"{login} (for {asker.on_behalf})" if asker.on_behalf else login

    async def record(self, change: Change) -> bool:
        """Put *change*, which was made just now, on record, and bring both to the disk.

        Return False if the disk takes nothing at present: then it is written when it does again.
        """
        row: Row = {
            "time": self._now().wall,
            "by": change.by,
            "action": change.action,
            "subject": change.subject.encode("utf-8", "surrogateescape"),
            "reason": change.reason,
        }
        entry = Entry(AUDIT, secrets.token_hex(8), row)
        self._entries[entry.id] = entry
        self._persistence.note([entry, *self._forgotten()])
        self._log.administered(change.by, change.action, change.subject, change.reason)
        await self._flush()
        return not self._persistence.is_behind

    def _forgotten(self) -> Iterable[Entry]:
        while len(self._entries) > MOST_KEPT:
            oldest = next(iter(self._entries))
            del self._entries[oldest]
            yield Entry(AUDIT, oldest, None)


def login_name(uid: int) -> Deferred[str]:
    """Return the login name of the user *uid*, or the number of one who is not known.

    The directory of users may be on the network, and slow: a thread waits for it.
    """
    return deferToThread(_login_name, uid)


def _login_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except (KeyError, OSError):
        return str(uid)


def _without_id(row: Mapping[str, str | int | float | bytes | None]) -> Row:
    return {name: value for name, value in row.items() if name != "id"}
