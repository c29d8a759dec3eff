"""What administrators can have the daemon do: forget counts, read the rules, write a snapshot."""

from collections.abc import Callable, Mapping
from functools import partial

from policyd.aup.counts import LIMIT
from policyd.aup.holders import key_of
from policyd.aup.series import Forget
from policyd.clock import Instant
from policyd.config.names import account_flaw
from policyd.config.problem import quoted
from policyd.service.admin_names import checked
from policyd.service.admin_request import Answer, Code, Command, CommandError, Request
from policyd.service.audit import Audit, Change
from policyd.service.metrics import Sources
from policyd.service.walking import Walks

_NOT_DURABLE = "the disk takes nothing at present: a crash would undo it (see the log)"


class Controlling:
    """The commands; *audit* keeps the record of what they change."""

    def __init__(
        self,
        sources: Sources,
        audit: Audit,
        walks: Walks,
        now: Callable[[], Instant],
    ) -> None:
        self._engine = sources.engine
        self._persistence = sources.persistence
        self._reloader = sources.reloader
        self._audit = audit
        self._walks = walks
        self._now = now

    @property
    def commands(self) -> Mapping[str, Command]:
        """The commands by name."""
        return {
            "reset": Command(self._reset, ("account", "reason"), takes=("limit",)),
            "reload": Command(self._reload),
            "snapshot": Command(self._snapshot),
        }

    async def _reset(self, request: Request) -> Answer:
        checked(request["account"], account_flaw)
        policy, only = self._engine.policy, request["limit"]
        account = policy.accounts.normalise(request["account"])
        if only and only not in [limit.id for limit in policy.limits]:
            raise CommandError(Code.NO_SUCH, f"there is no limit {quoted(only)}")
        whose = {
            limit: is_his
            for limit in policy.limits
            if (is_his := key_of(limit, "account", account, policy)) and only in ("", limit.id)
        }
        if not whose:
            raise CommandError(Code.USAGE, f"{only or 'no limit'} does not count by account")
        by = await self._audit.name(request.asker)
        keys = {
            limit.id: await self._walks.find(self._engine.counts.counter(limit), is_his)
            for limit, is_his in whose.items()
        }
        forgot: dict[str, int] = {}
        gone = {f"{LIMIT} {limit.id}": is_his for limit, is_his in whose.items()}
        await self._persistence.forget(self._engine, partial(self._forget, keys, gone, forgot))
        what = f"{account} {only}" if only else account
        durable = await self._audit.record(Change(by, "reset", what, request["reason"]))
        self._persistence.copy()  # of which the last one still has what is forgotten
        notes = [] if durable else [_NOT_DURABLE]
        if not any(forgot.values()):
            notes.append("nothing was counted")
        fields = {"account": account, "forgot": forgot, "durable": durable, "notes": notes}
        return Answer(fields)

    def _forget(
        self, keys: Mapping[str, list[str]], gone: Forget, forgot: dict[str, int]
    ) -> Forget:
        """Forget *keys* in memory, now; *forgot* is what they came to, by limit."""
        now = self._now().wall
        for name, counter in self._engine.counts.counters():
            if name in keys:
                counter.tidy(now, 0)
                forgot[name] = sum(map(counter.usage.sum, keys[name]))
                for key in keys[name]:
                    counter.forget(key)
        return gone

    async def _reload(self, request: Request) -> Answer:
        by = await self._audit.name(request.asker)
        result = await self._reloader.result("command")
        if result.is_good:
            await self._audit.record(Change(by, "reload", "rules", ""))
        policy = self._engine.policy
        return Answer(
            {
                "good": result.is_good,
                "problems": list(result.problems),
                "mode": policy.mode.value,
                "limits": [limit.id for limit in policy.limits],
            }
        )

    async def _snapshot(self, _: Request) -> Answer:
        await self._persistence.snapshot(self._engine)
        durable = not self._persistence.is_behind
        notes = [] if durable else ["the disk takes nothing at present; see the log"]
        took = self._persistence.snapshot_took
        return Answer({"durable": durable, "took": took, "notes": notes})
