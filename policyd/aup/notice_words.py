"""The words of the notices that are built in, for whoever has never heard of this daemon.

Written as notice_template.py has it: each sentence on a line of its own, which is left out when
what it tells of is not known.
"""

from enum import StrEnum
from typing import Final

from policyd.aup.ladder_rules import Template


class Kind(StrEnum):
    """What a notice tells; the first three may have templates of the provider's."""

    INCIDENT = "incident"
    """Mail was blocked; what was done about the sender."""

    SUMMARY = "summary"
    """An incident is over, and was much more than the notice said."""

    WARNING = "warning"
    """An account has come near a limit."""

    EXTREME = "extreme"
    """A domain that is never suspended would have been; to the provider alone."""

    OBSERVED = "observed"
    """An observing limit would have blocked mail; to the provider alone."""


_FACTS: Final = """\
    Account:     {account}
    Domain:      {domain}
    What:        {messages} message(s) sent to {recipients} recipient(s)
    First:       {first}
    Last:        {last}
    Time zone:   {zone}
    Tried:       {attempts} time(s), from {clients}
    Incident:    {incident}
"""
_SAMPLE: Final = """\
    Subject:     {sample_subject}
    Sender:      {sample_sender}
    Recipients:  {sample_recipients}
    Size:        {sample_size}
"""
_HELP: Final = """\
You can read our acceptable-use policy at {aup_url}

If you need help, or think that this is a mistake, write to {contact} and give the incident number \
{incident}.

-- {organization}
"""

TEMPLATES: Final = {
    Kind.INCIDENT: Template(
        "Mail from {who} was blocked: {title} (incident {incident})",
        f"""\
Hello,

you get this message because you are responsible for the mail accounts of {{domain}}.
The account {{account}} has tried to send mail that our acceptable-use policy does not permit.
Accounts of {{domain_alone}} have together tried to send mail that our acceptable-use policy does \
not permit.
The mail was blocked and has not been delivered.

{_FACTS}
This is what one of the messages looked like:

{_SAMPLE}
Why it was blocked

The rule is called "{{title}}".
It permits {{rule}}.
Breaking a mailing up into smaller batches, over hours, over days or over several mailboxes, is a \
violation as well.

What has been done, and what may follow

{{done}}
Nobody needs to do anything about the blocked mail itself: its sender has got an error message.

This is incident number {{strike}} of this account within {{strikes_expire}}.
{{steps}}
{{extremes}}

What you should do now

Please find out whether the user knows of this mail.
If so, make sure that he or she stops, and does not send it again in another way.

If not, somebody else is using the account, and probably knows its password.
This is what happens most often.
Change the password at once, and check for malware all devices on which it was stored.
If a web form or another program sends with this account, check that it is not being abused.

{_HELP}""",
    ),
    Kind.SUMMARY: Template(
        "There was more blocked mail from {who} than we told you (incident {incident})",
        f"""\
Hello,

we have told you before that mail from {{who}} was blocked.
Since then there was much more of it.
It has stopped by now; all of it was blocked, and none of it has been delivered.
These are the final figures:

{_FACTS}
The rule is called "{{title}}".
It permits {{rule}}.

{{done}}

If you have not done so yet, find out whether the user knows of this mail, and otherwise change \
the account's password.

{_HELP}""",
    ),
    Kind.WARNING: Template(
        "{who} is about to reach a sending limit: {title}",
        """\
Hello,

you get this message because you are responsible for the mail accounts of {domain}.
The account {account} sends so much mail that it may soon reach a limit of our acceptable-use \
policy.
Accounts of {domain_alone} together send so much mail that they may soon reach a limit of our \
acceptable-use policy.
Nothing has been blocked yet.

    Account:     {account}
    Domain:      {domain}
    Limit:       {title}
    Used:        {used} of {max} in {window} ({percent} %)
    Time:        {time}
    Time zone:   {zone}

The limit permits {rule}.
What goes beyond it is blocked and not delivered.

If the user sends this mail on purpose, ask him or her to wait, or to use a service for mailings.
If the user knows nothing of it, change the account's password at once.

You can read our acceptable-use policy at {aup_url}

If you need help, write to {contact}.

-- {organization}
""",
    ),
    Kind.EXTREME: Template(
        "Extreme abuse by {who}, and {domain} is not suspended (incident {incident})",
        f"""\
By the rules, mail from {{who}} is extreme abuse, which suspends the whole domain.
The domain {{domain}} is one of those that are never suspended, so it can still send.
Somebody has to look after this.

{_FACTS}
This is what one of the messages looked like:

{_SAMPLE}
The limit is called "{{title}}".
It permits {{rule}}.

{{done}}

policyd incident {{incident}} shows the rest.

-- {{organization}}
""",
    ),
    Kind.OBSERVED: Template(
        "Only observed: mail from {who} would have been blocked: {title} (incident {incident})",
        f"""\
This was only observed.
Mail from {{who}} has exceeded a limit that does not block yet.
The mail was delivered, nothing else follows, and only you, the provider, get this message.

{_FACTS}
This is what one of the messages looked like:

{_SAMPLE}
The limit is called "{{title}}".
It permits {{rule}}.

-- {{organization}}
""",
    ),
}

DIGEST: Final = Template(
    "Blocked mail of {number} incident(s)",
    """\
Hello,

mail from accounts of yours was blocked because our acceptable-use policy does not permit it.
There were so many incidents that you get one message about all of them instead of one about each.
The mail was blocked and has not been delivered, unless a line says "only observed".

In each case please find out whether the user knows of the mail.
If so, he or she has to stop.
If not, change the account's password at once: somebody else knows it.

Last time, incident, account, and what it was about (time zone {zone}):

{lines}

And {others} more incident(s).

You can read our acceptable-use policy at {aup_url}

If you need help, write to {contact} and give the incident number.

-- {organization}
""",
)
"""Its ``{lines}`` are put in afterwards, as they are."""
