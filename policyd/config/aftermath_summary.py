"""What follows a refusal, in lines that a postmaster reads."""

from collections.abc import Iterator

from policyd.aup.ladder_rules import Aftermath, Do, Extreme, Hook, LadderRules, NoticeRules, Step
from policyd.aup.wording import duration


def told_of_aftermath(aftermath: Aftermath) -> Iterator[str]:
    """Yield what *aftermath* comes to, one line for each thing that it says."""
    yield from _ladder(aftermath.ladder)
    if aftermath.notices is None:
        yield "notices: none, nobody is written to"
    else:
        yield from _notices(aftermath.notices)
    yield f"hooks: {len(aftermath.hooks) or 'none'}"
    yield from (f"  {_hook(hook)}" for hook in aftermath.hooks)


def _ladder(rules: LadderRules) -> Iterator[str]:
    if not (rules.steps or rules.extremes):
        yield "ladder: none, incidents lead to nothing"
    else:
        held = f"a strike is held for {duration(rules.strikes_expire)}"
        yield f"ladder: {held}, an incident ends after {duration(rules.quiet)} of quiet"
    for step in sorted(rules.steps, key=lambda step: step.strikes):
        yield f"  {_step(step)}"
    for extreme in rules.extremes:
        yield f"  {_extreme(extreme)}, and the domain is suspended until an administrator lifts it"
    if rules.extremes and rules.never_suspend:
        yield f"  never suspended whole: {_some(sorted(rules.never_suspend))}"
    if rules.suspended_to_local:
        yield "  who is suspended may still write to local recipients"
    if rules.warn_at is not None:
        yield f"  an early notice at {rules.warn_at:.0%} of a limit, once a window"


def _step(step: Step) -> str:
    if step.do is Do.NOTICE:
        return f"strike {step.strikes} and every later one: a notice"
    lasts = (
        "until an administrator lifts it" if step.lasts is None else f"for {duration(step.lasts)}"
    )
    return f"strike {step.strikes}: the mailbox is suspended {lasts}"


def _extreme(extreme: Extreme) -> str:
    within = duration(extreme.within)
    if extreme.recipients is not None:
        return f"{extreme.recipients} external recipients refused to one account in {within}"
    return f"{extreme.suspended_mailboxes} mailboxes of one domain suspended in {within}"


def _notices(rules: NoticeRules) -> Iterator[str]:
    host, port = rules.smtp
    server = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    to = ", ".join(rules.to) or "nobody but the copies"
    yield f"notices: to {to}, from {rules.sender}, by {server}"
    if rules.by_domain:
        yield f"  to others for {_some(sorted(rules.by_domain))}"
    if rules.bcc:
        yield f"  copies: {', '.join(rules.bcc)}"
    if rules.templates:
        yield f"  in your own words: {', '.join(rules.templates)}"
    if rules.domain_templates:
        yield f"  in other words for {_some(sorted(rules.domain_templates))}"
    if rules.observed:
        yield "  copies also of what is only observed"
    rest = f"given up after {duration(rules.give_up)}"
    yield f"  at most {rules.most_per_hour} an hour, more become digests; {rest}"


def _hook(hook: Hook) -> str:
    events = ", ".join(sorted(event.value for event in hook.on))
    does = f"run {' '.join(hook.command)}" if hook.command else f"post to {hook.url}"
    return f"{events}: {does}, for at most {duration(hook.timeout)}"


def _some(names: list[str]) -> str:
    """Return *names* as a list, of many only the first."""
    return (
        ", ".join(names) if len(names) <= 5 else f"{', '.join(names[:3])} and {len(names) - 3} more"
    )
