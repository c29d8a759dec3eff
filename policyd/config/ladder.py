"""The ladder and its hooks, built and checked for what their keys mean together."""

from policyd.aup.address import fold_domain
from policyd.aup.ladder_rules import SUSPENDED, Do, Extreme, Hook, LadderRules, Step
from policyd.aup.wording import Wording
from policyd.config import ladder_grammar as grammar
from policyd.config.limits import Setting
from policyd.config.problem import Problems
from policyd.config.tables import Record
from policyd.config.texts import check_suspended_text


def build_ladder(record: Record, setting: Setting, problems: Problems) -> LadderRules:
    """Return what incidents lead to; without a word about it they lead to nothing."""
    _check_steps(record, problems)
    _check_extremes(record, problems)
    warn_at = record.get(grammar.WARN_AT)
    return LadderRules(
        strikes_expire=record[grammar.STRIKES_EXPIRE],
        quiet=record[grammar.QUIET],
        steps=tuple(
            Step(step[grammar.STRIKES], step[grammar.DO], step.get(grammar.FOR))
            for step in record[grammar.STEPS]
        ),
        extremes=tuple(
            Extreme(
                extreme[grammar.IN],
                extreme.get(grammar.EXTREME_RECIPIENTS),
                extreme.get(grammar.SUSPENDED_MAILBOXES),
            )
            for extreme in record[grammar.EXTREME]
        ),
        never_suspend=_never_suspended(record, setting),
        warn_at=None if warn_at is None else warn_at / 100,
        suspended_to_local=record[grammar.SUSPENDED_RECIPIENTS] is grammar.Suspended.EXTERNAL,
        suspended_text=_suspended_text(record, setting, problems),
    )


def build_hook(record: Record, problems: Problems) -> Hook:
    """Return the hook of *record*."""
    if (grammar.RUN in record) is (grammar.URL in record) and not record.flawed:
        message = "a hook either runs a program or posts to a web address"
        problems.error(record.place(), message, "write one of the two: run or url")
    command = record.get(grammar.RUN) or ()
    if command:
        program, place = command[0]
        if not program.startswith("/"):
            message = "the path of the program is not absolute"
            problems.error(place, message, "write the whole path, such as /usr/bin/logger")
        elif len(command) == 1 and " " in program:
            words = ", ".join(program.split())
            message = "a program and its arguments stand in one text"
            problems.error(place, message, f"write each by itself: [{words}]")
    events = record[grammar.ON]
    return Hook(
        frozenset(events),
        tuple(word for word, _ in command),
        record.get(grammar.URL) or "",
        record[grammar.TIMEOUT],
    )


def _check_steps(record: Record, problems: Problems) -> None:
    seen: dict[tuple[int, Do], Record] = {}
    for step in record[grammar.STEPS]:
        does = step[grammar.DO]
        if grammar.FOR in step and does is not Do.SUSPEND_MAILBOX:
            message = f"{does.value} does not last"
            problems.error(step.place(grammar.FOR), message, "delete the key for")
        same = seen.setdefault((step[grammar.STRIKES], does), step)
        if same is not step and not step.flawed:
            place = same.place()
            message = f"the step of line {place.line} does the same after as many strikes"
            problems.error(step.place(), message, "delete one of the two, or change strikes")


def _check_extremes(record: Record, problems: Problems) -> None:
    for extreme in record[grammar.EXTREME]:
        keys = (grammar.EXTREME_RECIPIENTS, grammar.SUSPENDED_MAILBOXES)
        if sum(key in extreme for key in keys) != 1 and not extreme.flawed:
            message = "an extreme has one figure: recipients or suspended_mailboxes"
            problems.error(extreme.place(), message, "write one of the two, each entry its own")


def _never_suspended(record: Record, setting: Setting) -> frozenset[str]:
    domains = record.get(grammar.NEVER_SUSPEND)
    if domains is None:
        domains = tuple(filter(None, (setting.accounts.default_domain,)))
    return frozenset(map(fold_domain, domains))


def _suspended_text(record: Record, setting: Setting, problems: Problems) -> Wording:
    if text := record.get(grammar.SUSPENDED_TEXT):
        check_suspended_text(text, setting.organization, problems)
        return Wording(text.value)
    if setting.organization.contact:
        return SUSPENDED
    clauses = SUSPENDED.template.split("; ")
    return Wording("; ".join(clause for clause in clauses if "{contact}" not in clause))
