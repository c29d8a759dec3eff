"""The configuration of the private Postfix: the snippets, and what is around them."""

import re
from pathlib import Path

from .rules import LOCAL_DOMAIN
from .snippets import alternative, ask_with, at, entry, main_snippet, master_snippet

# Listeners, and the other ports that the run needs
PORTS = (
    *("policy", "relay", "sink", "notices"),
    # from the snippet as it is
    *("submission", "submissions", "reinjection"),
    # from the snippet, with the variants that it describes
    *("submission_unix", "submission_closed", "submission_absolute"),
    # without TLS, for XCLIENT; each wired as its name says
    *("plain", "keep", "crowd", "crash", "small", "few", "listed", "everywhere", "later", "lossy"),
    *("early", "end_only", "rcpt_only", "once"),
    *("proxy", "filter", "naive_reinjection", "naive_filter", "postscreen"),
)

MAIN = """\
compatibility_level = 3.6
queue_directory = {directory}/queue
data_directory = {directory}/data
maillog_file = {directory}/maillog
maillog_file_prefixes = {directory}
multi_instance_name = postfix-policyd-test
myhostname = mail.test
mydomain = mail.test
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mynetworks = 127.0.0.0/8 192.0.2.0/24
mydestination = {local_domain}
# users of the provider: user, user1, user2, ...
local_recipient_maps = regexp:{directory}/conf/users
alias_maps =
alias_database =

# all mail ends in the sink, nothing leaves the machine
default_transport = smtp:[127.0.0.1]:{sink}
relay_transport = $default_transport
local_transport = $default_transport
virtual_transport = $default_transport
smtp_destination_recipient_limit = 1000
smtp_connection_cache_on_demand = no
disable_dns_lookups = yes

smtpd_sasl_type = dovecot
smtpd_sasl_path = private/auth
smtpd_tls_cert_file = {directory}/conf/cert.pem
smtpd_tls_key_file = {directory}/conf/key.pem
smtpd_authorized_xclient_hosts = 127.0.0.0/8
smtpd_peername_lookup = no
header_checks = regexp:{directory}/conf/header_checks

# quick, and without limits of Postfix's own
in_flow_delay = 0
smtpd_error_sleep_time = 0
smtpd_client_connection_count_limit = 0
# every session gets a smtpd of its own, whose policy connection ends with it: no test is slowed
# down by connections to the daemon of the test before
max_use = 1

# main.cf itself names policyd, as it does where port 25 is wired too
smtpd_relay_restrictions = permit_mynetworks, reject_unauth_destination
smtpd_recipient_restrictions = $policyd_ask, permit_mynetworks, reject
smtpd_end_of_data_restrictions = $policyd_ask
"""

SERVICES = """\
pickup     unix       n - n 60    1   pickup
cleanup    unix       n - n -     0   cleanup -o max_use=100
qmgr       unix       n - n 300   1   qmgr
tlsmgr     unix       - - n 1000? 1   tlsmgr
rewrite    unix       - - n -     -   trivial-rewrite -o max_use=100
bounce     unix       - - n -     0   bounce
defer      unix       - - n -     0   bounce
trace      unix       - - n -     0   bounce
verify     unix       - - n -     1   verify
proxymap   unix       - - n -     -   proxymap -o max_use=100
smtp       unix       - - n -     -   smtp -o max_use=100
error      unix       - - n -     -   error
retry      unix       - - n -     -   error
anvil      unix       - - n -     1   anvil
postlog    unix-dgram n - n -     1   postlogd
dnsblog    unix       - - n -     0   dnsblog
tlsproxy   unix       - - n -     0   tlsproxy
smtpd      pass       - - n -     -   smtpd
"""

HEADER_CHECKS = "/^X-Refuse-Me:/ REJECT the header check says no\n"
USERS = f"/^(user[0-9]*|postmaster|abuse)@{re.escape(LOCAL_DOMAIN)}$/ known\n"


def main_cf(directory: Path, ports: dict[str, int]) -> str:
    """Return main.cf: a plain server's, and our snippet."""
    own = MAIN.format(directory=directory, local_domain=LOCAL_DOMAIN, sink=ports["sink"])
    return own + main_snippet(ports["policy"])


def master_cf(ports: dict[str, int], policy_socket: Path) -> str:
    """Return master.cf: the usual services, our snippet, its variants, and odder listeners."""
    snippet = master_snippet()
    submission = entry(snippet, "submission")
    variants = {
        "submission_unix": f"policyd_service = {alternative('policyd_service')}",
        "submission_closed": f"policyd_ask = {alternative('policyd_ask')}",
        "submission_absolute": f"policyd_service = unix:{policy_socket}",
    }
    snippet = at(snippet, "submission", ports["submission"])
    snippet = at(snippet, "submissions", ports["submissions"])
    snippet = at(snippet, "127.0.0.1:10025", ports["reinjection"])
    return "\n".join(
        [
            SERVICES,
            snippet,
            *(at(submission, "submission", ports[name], o) for name, o in variants.items()),
            *_plain_listeners(ports),
            "",
        ]
    )


def _plain_listeners(ports: dict[str, int]) -> list[str]:
    def listener(name: str, *options: str, processes: str = "-") -> str:
        words = "".join(f" -o {{ {option} }}" for option in options)
        return f"127.0.0.1:{ports[name]} inet n - n - {processes} smtpd{words}"

    ask = "$policyd_ask"
    other_ask = ask_with("policy_context=second")
    once = ask_with("try_limit=1")
    everywhere = [
        f"smtpd_{stage}_restrictions = {ask}"
        for stage in ("client", "helo", "sender", "data", "etrn")
    ]
    reinjection = f"[127.0.0.1]:{ports['reinjection']}"
    naive = f"[127.0.0.1]:{ports['naive_reinjection']}"
    own = "permit_mynetworks, reject"
    return [
        listener("plain"),
        # one process serves all sessions, and keeps its policy connection
        listener("keep", "max_use = 100", processes="1"),
        listener("crowd", processes="0"),
        listener("crash"),
        listener("small", "message_size_limit = 20000"),
        listener("few", "smtpd_recipient_limit = 3"),
        listener(
            "listed",
            f"smtpd_sender_restrictions = {ask}",
            f"smtpd_recipient_restrictions = {ask}, {ask}, {other_ask}, {own}",
        ),
        listener("everywhere", "smtpd_delay_reject = no", *everywhere),
        listener(
            "later",
            f"smtpd_recipient_restrictions = {ask},"
            f" check_recipient_access inline:{{ refused@later.example=REJECT }}, {own}",
        ),
        listener("lossy", f"policyd_service = inet:127.0.0.1:{ports['relay']}"),
        # asked before it is known whether the recipient may be relayed to at all
        listener(
            "early",
            "mynetworks = 192.0.2.1",
            "smtpd_relay_before_recipient_restrictions = no",
            f"smtpd_recipient_restrictions = {ask}, reject_unauth_destination",
        ),
        # half of the wiring
        listener("end_only", f"smtpd_recipient_restrictions = {own}"),
        listener("rcpt_only", "smtpd_end_of_data_restrictions ="),
        # what the snippet advises against
        listener("once", f"policyd_ask = {once}"),
        listener("proxy", f"smtpd_proxy_filter = {reinjection}"),
        listener("filter", f"content_filter = smtp:{reinjection}"),
        listener("naive_reinjection", "content_filter ="),
        listener("naive_filter", f"content_filter = smtp:{naive}"),
        f"127.0.0.1:{ports['postscreen']} inet n - n - 1 postscreen",
    ]
