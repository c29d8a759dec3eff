"""``policyd serve``: run the daemon in the foreground."""

import argparse
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from policyd.cli.admin_client import DEFAULT_SOCKET
from policyd.config.load import load
from policyd.config.summary import summarise
from policyd.service.addresses import ListenAddress, TcpAddress, parse_listen
from policyd.service.log_writer import Priority

DEFAULT_LISTEN = TcpAddress("127.0.0.1", 10040)
_LEVELS = {"debug": Priority.DEBUG, "info": Priority.INFO}


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command to *commands*."""
    parser = commands.add_parser(
        "serve",
        help="answer Postfix's policy requests until stopped",
        description="Answer Postfix's policy requests until stopped. "
        "SIGHUP reads the rules again; SIGTERM and SIGINT stop cleanly.",
    )
    parser.add_argument(
        "--config", type=Path, required=True, metavar="FILE", help="the rule file, or a directory"
    )
    parser.add_argument(
        "--listen",
        type=parse_listen,
        action="append",
        default=[],
        metavar="ADDRESS",
        help="tcp:ADDR:PORT or unix:PATH[:mode=0660]; may be given several times "
        f"(default: the sockets that systemd passes, or else {DEFAULT_LISTEN})",
    )
    parser.add_argument(
        "--milter",
        type=parse_listen,
        action="append",
        default=[],
        metavar="ADDRESS",
        help="where Postfix shows content to policyd as a milter, such as "
        "unix:/var/spool/postfix/policyd/milter:mode=0660; may be given several times "
        "(default: nowhere)",
    )
    parser.add_argument(
        "--state",
        type=Path,
        metavar="DIR",
        help="where the counts are kept (default: state.directory of the rule file)",
    )
    parser.add_argument(
        "--admin",
        type=_admin,
        default=DEFAULT_SOCKET,
        metavar="PATH",
        help="the socket for administrators' commands, or none (default: %(default)s)",
    )
    parser.add_argument(
        "--metrics",
        type=_metrics,
        metavar="ADDRESS",
        help="where Prometheus finds the daemon's figures, such as tcp:127.0.0.1:10041, or none "
        "(default: none)",
    )
    parser.add_argument(
        "--log-level",
        choices=_LEVELS,
        default="info",
        help="debug shows every request and its arithmetic (default: %(default)s)",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Serve as *args* say; return 1 if the rules are wrong."""
    loaded = load(args.config)
    for problem in loaded.problems:
        sys.stderr.write(f"{problem}\n")
    policy = loaded.policy
    if policy is None:
        return 1
    # Twisted takes a while to import, and a wrong rule file does not need it
    from policyd.service.application import Options, serve  # noqa: PLC0415

    def greet(addresses: Sequence[str], state: Path) -> None:
        if "NOTIFY_SOCKET" not in os.environ:
            shown = replace(policy, state=replace(policy.state, directory=str(state)))
            sys.stdout.write(_greeting(addresses, summarise(shown), args.config))
            sys.stdout.flush()

    options = Options(
        config=args.config,
        listen=tuple(args.listen),
        default_listen=DEFAULT_LISTEN,
        state=args.state,
        log_level=_LEVELS[args.log_level],
        admin=args.admin,
        metrics=args.metrics,
        milter=tuple(args.milter),
    )
    return serve(options, loaded, policy, greet)


def _admin(text: str) -> ListenAddress | None:
    return None if text == "none" else parse_listen(f"unix:{Path(text).absolute()}")


def _metrics(text: str) -> ListenAddress | None:
    return None if text == "none" else parse_listen(text)


def _greeting(addresses: Sequence[str], summary: Sequence[str], config: Path) -> str:
    """Return what a person at the terminal reads first."""
    lines = [
        f"policyd answers on {', '.join(addresses)}",
        "",
        *summary,
        "",
        f"Next: put your domains into {config} and kill -HUP {os.getpid()};",
        "wire Postfix as etc/postfix/ shows, send a mail, and watch the log below. Ctrl-C stops.",
        "",
    ]
    return "\n".join(lines) + "\n"
