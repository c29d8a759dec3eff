"""Who is sending, from where: what all requests of one transaction say alike."""

from typing import Final

from policyd.aup.address import Accounts, split_address
from policyd.protocol.request import Request

REQUEST_ATTRIBUTES: Final = frozenset(
    """protocol_name client_address client_name client_port reverse_client_name
    server_address server_port helo_name sender etrn_domain stress sasl_method sasl_username
    sasl_sender ccert_subject ccert_issuer ccert_fingerprint ccert_pubkey_fingerprint
    encryption_protocol encryption_cipher encryption_keysize tls_sni policy_context
    compatibility_level mail_version""".split()
)
"""Attributes (CONTRACT.md A1) that do not change within a transaction.

Of a service that is listed several times with another policy_context each, the first one asked
with decides.
"""

VARYING_ATTRIBUTES: Final = frozenset(
    ("request", "protocol_state", "recipient_count", "queue_id", "instance", "size")
)
"""Attributes that change from one request of a transaction to the next."""


_PROVEN: Final = frozenset(
    ("sasl_username", "ccert_subject", "ccert_fingerprint", "ccert_pubkey_fingerprint")
)
"""Attributes that Postfix fills only for those who logged in or showed a certificate."""


class Facts:
    """The sender's side of one transaction.

    *account* and *domain* are empty when no identity attribute says anything. *authenticated* tells
    whether the sender has proved to be the account, as opposed to having claimed it.
    """

    __slots__ = ("_request", "account", "authenticated", "client_address", "domain")

    def __init__(self, request: Request, accounts: Accounts) -> None:
        self._request = request
        self.client_address = request["client_address"]
        self.account = ""
        self.authenticated = False
        for attribute in accounts.identity:
            if identity := request[attribute]:
                self.account = accounts.normalise(identity)
                self.authenticated = attribute in _PROVEN
                break
        self.domain = split_address(self.account)[1]

    @property
    def request(self) -> Request:
        """The request that opened the transaction."""
        return self._request

    def __getitem__(self, name: str) -> str:
        """Return what *name* is here: account, domain, or a request attribute as it arrived."""
        if name == "account":
            return self.account
        if name == "domain":
            return self.domain
        return self._request[name]
