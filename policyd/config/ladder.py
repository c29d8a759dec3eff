"""The ladder and the notices, checked for what their keys mean together.

This version does not act on them, and says so.
"""

from policyd.config import ladder_grammar
from policyd.config.ladder_grammar import Step
from policyd.config.problem import Problems
from policyd.config.tables import Record


def check_ladder(record: Record, problems: Problems) -> None:
    """Check the steps and the extremes of the ladder."""
    seen: dict[tuple[int, Step], Record] = {}
    for step in record[ladder_grammar.STEPS]:
        does = step[ladder_grammar.DO]
        if ladder_grammar.FOR in step and does is not Step.SUSPEND_MAILBOX:
            message = f"{does.value} does not last"
            problems.error(step.place(ladder_grammar.FOR), message, "delete the key for")
        same = seen.setdefault((step[ladder_grammar.STRIKES], does), step)
        if same is not step and not step.flawed:
            place = same.place()
            message = f"the step of line {place.line} does the same after as many strikes"
            problems.error(step.place(), message, "delete one of the two, or change strikes")
    for extreme in record[ladder_grammar.EXTREME]:
        keys = (ladder_grammar.EXTREME_RECIPIENTS, ladder_grammar.SUSPENDED_MAILBOXES)
        if sum(key in extreme for key in keys) != 1 and not extreme.flawed:
            message = "an extreme has one figure: recipients or suspended_mailboxes"
            problems.error(extreme.place(), message, "write one of the two, each entry its own")


def check_notices(record: Record, problems: Problems) -> None:
    """Check that somebody gets the notices."""
    named = record.get(ladder_grammar.TO) or record.get(ladder_grammar.TO_FILE)
    if not named and not record.flawed:
        message = "nobody gets the notices"
        problems.error(record.place(), message, 'add to: ["postmaster@{domain}"]')
