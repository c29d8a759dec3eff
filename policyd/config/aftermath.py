"""What follows a refusal: the ladder, the notices and the hooks, built and checked together."""

from collections.abc import Iterator, Sequence

from policyd.aup.ladder_rules import Aftermath, Do, LadderRules
from policyd.aup.policy import Limit
from policyd.config import grammar, ladder_grammar
from policyd.config.ladder import build_hook, build_ladder
from policyd.config.limits import Setting
from policyd.config.lists import NamedFiles
from policyd.config.notices import build_notices
from policyd.config.problem import Place, Problems
from policyd.config.tables import Record


def build_aftermath(
    file: Record,
    limits: Sequence[Limit] | None,
    setting: Setting,
    files: NamedFiles,
    problems: Problems,
) -> Aftermath:
    """Return what follows the refusals of *limits*, None when not all of them could be read."""
    ladder = build_ladder(file[grammar.LADDER], setting, problems)
    notices = None
    if (record := file.get(grammar.NOTICES)) is not None:
        notices = build_notices(record, setting, files, problems)
    hooks = tuple(build_hook(record, problems) for record in file[grammar.HOOKS])
    aftermath = Aftermath(ladder, notices, hooks)
    if limits is not None:
        _check_reach(file, aftermath, limits, problems)
    return aftermath


def _check_reach(
    file: Record, aftermath: Aftermath, limits: Sequence[Limit], problems: Problems
) -> None:
    """Point out what is written and can never happen."""
    _check_strikes(file, aftermath.ladder, limits, problems)
    ladder, notices = aftermath.ladder, aftermath.notices
    if not file.has(grammar.NOTICES):
        if place := next(_telling(file[grammar.LADDER]), None):
            message = "there is no section notices, so nobody is told"
            problems.warning(place, message, 'add notices: {to: ["postmaster@{domain}"]}')
    elif notices and not (ladder.steps or ladder.warn_at or notices.observed):
        message = "no step of the ladder leads to a notice"
        hint = "add ladder: {steps: [{strikes: 1, do: notice}]}"
        problems.warning(file.key_place(grammar.NOTICES), message, hint)


def _check_strikes(
    file: Record, ladder: LadderRules, limits: Sequence[Limit], problems: Problems
) -> None:
    """Point out a ladder that nobody climbs."""
    strikes = [limit for limit in limits if limit.strike]
    suspends = any(step.do is Do.SUSPEND_MAILBOX for step in ladder.steps) or ladder.extremes
    if (ladder.steps or ladder.extremes) and not strikes:
        message = "no limit has strike: true, so nothing leads to the ladder"
    elif suspends and not any(limit.counts_per("account") for limit in strikes):
        message = "no limit with account under per has strike: true, so nobody climbs the ladder"
    else:
        return
    problems.warning(file.key_place(grammar.LADDER), message, "add strike: true to a limit")


def _telling(record: Record) -> Iterator[Place]:
    """Yield where the ladder *record* says that somebody is told."""
    for step in record[ladder_grammar.STEPS]:
        if ladder_grammar.DO in step and step[ladder_grammar.DO] is Do.NOTICE:
            yield step.place(ladder_grammar.DO)
    if ladder_grammar.WARN_AT in record:
        yield record.place(ladder_grammar.WARN_AT)
