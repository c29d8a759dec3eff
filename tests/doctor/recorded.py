"""What postconf 3.7 prints of a Debian 12 with the snippets, to be changed here and there."""

from dataclasses import dataclass, field

from policyd.doctor.endpoint import Reach, Target
from policyd.doctor.fault import Fault
from policyd.doctor.postfix import Postfix, Printed, read
from policyd.doctor.wiring import Wiring

QUEUE = "/var/spool/postfix"
LISTENING = ("tcp:127.0.0.1:10040", f"unix:{QUEUE}/policyd/policy:mode=0666")
ASK = "check_policy_service { $policyd_service, timeout=5s, default_action=DUNNO }"
RAW = "check_policy_service { inet:127.0.0.1:10040, timeout=5s, default_action=DUNNO }"

MAIN = {
    "compatibility_level": "3.6",
    "content_filter": "",
    "mail_owner": "postfix",
    "policyd_ask": ASK,
    "policyd_end_of_data_restrictions": "$policyd_ask",
    "policyd_recipient_restrictions": "reject_non_fqdn_recipient, reject_unlisted_recipient,"
    " $policyd_ask, permit_sasl_authenticated, reject",
    "policyd_service": "inet:127.0.0.1:10040",
    "queue_directory": QUEUE,
    "smtpd_authorized_xclient_hosts": "",
    "smtpd_client_restrictions": "",
    "smtpd_data_restrictions": "",
    "smtpd_delay_reject": "yes",
    "smtpd_end_of_data_restrictions": "",
    "smtpd_etrn_restrictions": "",
    "smtpd_helo_restrictions": "",
    "smtpd_policy_service_default_action": "451 4.3.5 Server configuration problem",
    "smtpd_policy_service_policy_context": "",
    "smtpd_policy_service_timeout": "100s",
    "smtpd_policy_service_try_limit": "2",
    "smtpd_proxy_filter": "",
    "smtpd_recipient_restrictions": "",
    "smtpd_relay_before_recipient_restrictions": "${{$compatibility_level} <level {3.6} ? {no} :"
    " {yes}}",
    "smtpd_relay_restrictions": "permit_mynetworks, permit_sasl_authenticated,"
    " defer_unauth_destination",
    "smtpd_restriction_classes": "",
    "smtpd_sasl_auth_enable": "no",
    "smtpd_sender_restrictions": "",
    "smtpd_tls_ask_ccert": "no",
    "smtpd_tls_req_ccert": "no",
    "soft_bounce": "no",
}
SUBMISSION = {
    "smtpd_sasl_auth_enable": "yes",
    "smtpd_relay_restrictions": "permit_sasl_authenticated,reject",
    "smtpd_recipient_restrictions": "$policyd_recipient_restrictions",
    "smtpd_end_of_data_restrictions": "$policyd_end_of_data_restrictions",
}
REINJECTION = {
    "content_filter": "",
    "smtpd_proxy_filter": "",
    "smtpd_relay_restrictions": "permit_mynetworks,reject",
    "smtpd_recipient_restrictions": "permit_mynetworks,reject",
    "smtpd_end_of_data_restrictions": "",
}
OTHERS = """\
smtp       unix  -       -       y       -       -       smtp
cleanup    unix  n       -       y       -       0       cleanup -o max_use=100
"""


@dataclass
class Recorded:
    """A Postfix as it is shipped, and changes to it: None takes a parameter away."""

    main: dict[str, str] = field(default_factory=dict)
    world: dict[str, str] = field(default_factory=dict)
    submission: dict[str, str | None] = field(default_factory=dict)
    reinjection: dict[str, str] = field(default_factory=dict)
    more: dict[str, dict[str, str]] = field(default_factory=dict)
    chroot: str = "y"
    listening: tuple[str, ...] | None = LISTENING
    notices: tuple[str, int] | None = ("127.0.0.1", 10025)
    reached: dict[Target, Reach] = field(default_factory=dict)

    def postfix(self) -> Postfix:
        return read(self.printed())

    def printed(self) -> Printed:
        submission = {**SUBMISSION, **self.submission}
        listeners = {
            "smtp": self.world,
            "submission": {name: text for name, text in submission.items() if text is not None},
            "127.0.0.1:10025": {**REINJECTION, **self.reinjection},
            **self.more,
        }
        main = {**MAIN, **self.main}
        expanded = {"smtpd_relay_before_recipient_restrictions": "yes"}
        services = "".join(
            f"{name:<10} inet  n       -       {self.chroot}       -       -       smtpd\n"
            for name in listeners
        )
        own = "".join(
            f"{name}/inet/{parameter} = {value}\n"
            for name, some in listeners.items()
            for parameter, value in some.items()
        )
        return Printed(_lines(main), _lines({**main, **expanded}), own, own, services + OTHERS)

    def wiring(self) -> Wiring:
        return Wiring(self.postfix(), QUEUE, self.listening, self.notices)

    def faults(self) -> list[Fault]:
        wiring = self.wiring()
        reached = {one: self.reached.get(one, Reach.OK) for one in wiring.targets()}
        return wiring.faults(reached)


def _lines(parameters: dict[str, str]) -> str:
    return "".join(f"{name} = {value}\n" for name, value in parameters.items())
