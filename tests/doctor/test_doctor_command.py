"""The command: exit codes, and what is said when something cannot be asked."""

import json
import shlex
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from doctor.recorded import LISTENING, Recorded

from policyd.cli.main import main
from policyd.cli.reach import reach
from policyd.doctor.endpoint import Reach, Target, serves, target

WELL = {
    "up": 60.0,
    "connections": 1,
    "rcpt": 30,
    "end": 10,
    "other": 0,
    "nameless": 0,
    "only_loopback": False,
    "listening": ["tcp:0.0.0.0:0"],
    "milters": [],
    "notices": ["127.0.0.1", 10025],
}


class Said(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., Said]:
    def run(*words: str) -> Said:
        try:
            code = main(["doctor", "--socket", str(tmp_path / "admin"), *words])
        except SystemExit as left:
            code = int(left.code or 0)
        told = capsys.readouterr()
        return Said(code, told.out, told.err)

    return run


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[dict[str, object]]:
    """A daemon that answers once; what it listens on, besides, is the test's own port."""
    answer = dict(WELL)
    with socket.socket(socket.AF_UNIX) as admin:
        admin.bind(str(tmp_path / "admin"))
        admin.listen()

        def serve() -> None:
            connection, _ = admin.accept()
            with connection, connection.makefile("rb") as lines:
                connection.sendall(b'{"policyd": "0.1.0", "protocol": 1}\n')
                assert json.loads(lines.readline()) == {"command": "wiring"}
                connection.sendall(json.dumps({"ok": True, **answer}).encode() + b"\n")

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield answer
        thread.join(10)


@pytest.fixture
def listening(daemon: dict[str, object]) -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        daemon["listening"] = [f"tcp:0.0.0.0:{port}"]
        yield port


def postconf(directory: Path, recorded: Recorded) -> str:
    """Return the path of a program that prints what is *recorded*, as postconf would."""
    texts = recorded.printed()
    arguments = {
        "parameters": "",
        "expanded": "-x",
        "own": "-P",
        "own_expanded": "-P -x",
        "services": "-M",
    }
    cases = []
    for name, words in arguments.items():
        path = directory / name
        path.write_text(getattr(texts, name), encoding="utf-8")
        cases.append(f"'{words}') cat {shlex.quote(str(path))} ;;")
    program = directory / "postconf"
    program.write_text("#!/bin/sh\ncase $* in\n" + "\n".join(cases) + "\nesac\n", encoding="ascii")
    program.chmod(0o755)
    return str(program)


def shipped(port: int) -> Recorded:
    return Recorded(main={"policyd_service": f"inet:127.0.0.1:{port}"})


def test_a_healthy_configuration_says_what_was_checked(
    run: Callable[..., Said], listening: int, tmp_path: Path
) -> None:
    said = run("--postconf", postconf(tmp_path, shipped(listening)))
    assert (said.code, said.err) == (0, "")
    assert said.out == (
        "No fault. What was checked:\n"
        f"  policyd listens on tcp:0.0.0.0:{listening}; in 60 seconds it was asked about "
        "30 recipients and 10 messages\n"
        "  smtp (25): does not ask\n"
        f"  submission (587): asks inet:127.0.0.1:{listening} at RCPT and END-OF-MESSAGE\n"
        "  127.0.0.1:10025: does not ask; filtered mail comes back here; notices go by it\n"
    )


def test_a_fault_has_its_listener_and_its_line(
    run: Callable[..., Said], listening: int, tmp_path: Path
) -> None:
    recorded = shipped(listening)
    recorded.submission = {"smtpd_end_of_data_restrictions": None}
    said = run("--postconf", postconf(tmp_path, recorded))
    assert (said.code, said.err) == (1, "")
    assert said.out == (
        "fault: no-end-of-message, submission (587)\n"
        "  smtpd_end_of_data_restrictions does not name policyd\n"
        "  A message is decided and counted at its end: so nothing is ever counted.\n"
        "  Write in master.cf, below submission (587):\n"
        "    -o smtpd_end_of_data_restrictions=$policyd_end_of_data_restrictions\n"
        "\n"
        "1 fault\n"
    )


def test_json(run: Callable[..., Said], listening: int, tmp_path: Path) -> None:
    recorded = shipped(listening)
    recorded.main["soft_bounce"] = "yes"
    said = run("--json", "--postconf", postconf(tmp_path, recorded))
    assert said.code == 1
    found = json.loads(said.out)
    assert found["faults"] == [
        {
            "code": "soft-bounce",
            "listeners": ["submission (587)"],
            "what": "soft_bounce is yes",
            "why": "What policyd refuses for good is tried again, for days.",
            "place": "main.cf",
            "cure": ["soft_bounce = no"],
            "weight": "fault",
        }
    ]
    assert len(found["checked"]) == 4


def test_the_daemon_alone(
    run: Callable[..., Said], daemon: dict[str, object], tmp_path: Path
) -> None:
    daemon["end"] = 0
    said = run("--json", "--postconf", str(tmp_path / "nonesuch"))
    assert said.code == 1
    codes = [fault["code"] for fault in json.loads(said.out)["faults"]]
    assert codes == ["no-postconf", "rcpt-without-end"]


def test_postconf_alone(run: Callable[..., Said], tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        recorded = shipped(server.getsockname()[1])
        said = run("--json", "--postconf", postconf(tmp_path, recorded))
    assert said.code == 1
    assert [fault["code"] for fault in json.loads(said.out)["faults"]] == ["no-daemon"]


def test_neither(run: Callable[..., Said], tmp_path: Path) -> None:
    said = run("--postconf", str(tmp_path / "nonesuch"))
    assert (said.code, said.out) == (3, "")
    assert "policyd cannot be reached" in said.err
    assert "nonesuch: No such file or directory" in said.err


def test_postconf_that_fails(run: Callable[..., Said], tmp_path: Path) -> None:
    program = tmp_path / "postconf"
    program.write_text("#!/bin/sh\necho 'fatal: bad \033[5mthing' >&2; exit 1\n", encoding="utf-8")
    program.chmod(0o755)
    said = run("--postconf", str(program))
    assert said.code == 3
    assert "fatal: bad \\x1b[5mthing" in said.err


def test_wrong_usage(run: Callable[..., Said]) -> None:
    assert run("now").code == 2


# addresses


@pytest.mark.parametrize(
    ("service", "chrooted", "expected"),
    [
        ("unix:policyd/policy", True, Target(path="/queue/policyd/policy")),
        ("unix:policyd/policy", False, Target(path="/queue/policyd/policy")),
        ("unix:/run/policy", True, Target(path="/queue/run/policy")),
        ("unix:/run/policy", False, Target(path="/run/policy")),
        ("inet:127.0.0.1:10040", True, Target(host="127.0.0.1", port=10040)),
        ("inet:[::1]:10040", True, Target(host="::1", port=10040)),
        ("inet:10040", True, Target(host="localhost", port=10040)),
        ("inet:localhost:policy", True, None),
        ("hash:/x", True, None),
    ],
)
def test_where_a_service_is(service: str, chrooted: bool, expected: Target | None) -> None:
    assert target(service, "/queue", chrooted=chrooted) == expected


@pytest.mark.parametrize(
    ("listening", "wanted", "is_there"),
    [
        ("tcp:127.0.0.1:10040", Target(host="127.0.0.1", port=10040), True),
        ("tcp:127.0.0.1:10040", Target(host="localhost", port=10040), True),
        ("tcp:0.0.0.0:10040", Target(host="192.0.2.1", port=10040), True),
        ("tcp:[::1]:10040", Target(host="0:0::1", port=10040), True),
        ("tcp:127.0.0.1:10041", Target(host="127.0.0.1", port=10040), False),
        ("tcp:192.0.2.1:10040", Target(host="127.0.0.1", port=10040), False),
        ("tcp:192.0.2.1:10040", Target(host="mx.example", port=10040), False),
        (LISTENING[1], Target(path="/var/spool/postfix/policyd/policy"), True),
        (LISTENING[1], Target(path="/policyd/policy"), False),
    ],
)
def test_who_is_served(listening: str, wanted: Target, is_there: bool) -> None:
    assert serves([listening], wanted) is is_there


def test_what_a_try_comes_to(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    where = Target(path=str(path))
    assert reach(where, "root") is Reach.MISSING
    path.touch()
    assert reach(where, "root") is Reach.NO_SOCKET
    path.unlink()
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()
        path.chmod(0o666)
        # pytest's directories are for one user alone
        assert reach(where, "nobody") is Reach.FORBIDDEN
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert reach(Target(host="127.0.0.1", port=port), "nobody") is Reach.OK
    assert reach(Target(host="127.0.0.1", port=port), "nobody") is Reach.REFUSED
