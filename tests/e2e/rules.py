"""Rule files for the tests: a head, and limits to put under it."""

ALICE = "alice@sender.example"
BOB = "bob@sender.example"
LOCAL_DOMAIN = "local.test"
LOGINS = [
    *(ALICE, BOB),
    *(f"box{number}@sender.example" for number in range(10)),
    *(f"box{number}@shared.example" for number in range(4)),
]

HEAD = f"""\
version: 1
mode: %(mode)s
end_session: %(end_session)s

organization:
  name: Example Mail
  aup_url: https://mail.example/aup
  contact: abuse@mail.example

local:
  domains: [{LOCAL_DOMAIN}]

accounts:
  identity: [sasl_username]
  default_domain: sender.example

limits:
"""

# The acceptable-use policy, as a provider would write it
AUP = """\
  - id: bulk
    title: Bulk mail
    per: [account, likeness]
    count: distinct-recipients
    recipients: external
    max: 249
    window: 24h
    text: "Bulk mail is not permitted here; see {aup_url}; {used} of {max} external recipients \\
      in {window}"
  - id: repeat
    title: Mail loop
    per: [account, likeness, recipient]
    count: messages
    recipients: external
    max: 250
    window: 24h
    text: "Too many similar mails to one address; see {aup_url}; {used} of {max} in {window}"
  - id: burst
    title: Mail rate
    per: [account]
    count: recipients
    recipients: external
    max: 500
    window: 10m
    action: DEFER
  - id: daily
    title: Daily recipients
    per: [account]
    count: distinct-recipients
    recipients: external
    max: 1000
    window: 24h
    action: DEFER
"""

# One limit of every kind, none of them in the way: what was counted can be read from them. *held*
# holds at RCPT already; *from-sender* needs no login and so sees mail that comes by without one.
LEDGER = """\
  - {id: messages, per: [account], count: messages, max: 10000, window: 24h}
  - {id: recipients, per: [account], count: recipients, recipients: external, max: 10000,
     window: 24h}
  - {id: distinct, per: [account], count: distinct-recipients, recipients: external, max: 10000,
     window: 24h}
  - {id: everyone, per: [account], count: distinct-recipients, max: 10000, window: 24h}
  - {id: bytes, per: [account], count: bytes, max: 1000MB, window: 24h}
  - {id: held, per: [account], count: recipients, max: 10000, window: 24h, refuse: recipient}
  - {id: from-sender, per: [sender], count: recipients, max: 10000, window: 24h}
"""


def rule_file(
    *limits: str, mode: str = "enforce", end_session: str = "auto", more: str = ""
) -> str:
    """Return the text of a rule file with these *limits*."""
    head = HEAD % {"mode": mode, "end_session": end_session}
    return f"{head}{''.join(limits)}\n{more}"


def bulk_refusal(used: int) -> str:
    """Return what a sender is told whose mail would make it *used* recipients."""
    aup = "https://mail.example/aup"
    count = f"{used} of 249 external recipients in 24 hours"
    return f"Bulk mail is not permitted here; see {aup}; {count}"


def counted(
    messages: int,
    external: int,
    size: int,
    everyone: int | None = None,
    distinct: int | None = None,
) -> dict[str, int]:
    """Return what the limits of LEDGER hold after so many messages, recipients and bytes.

    *everyone* adds the provider's own users; *distinct* is for recipients that got several mails.
    """
    everyone = external if everyone is None else everyone
    return {
        "messages": messages,
        "recipients": external,
        "distinct": external if distinct is None else distinct,
        "everyone": everyone if distinct is None else distinct,
        "bytes": size,
        "held": everyone,
        "from-sender": everyone,
    }


NOTHING = counted(messages=0, external=0, size=0)
