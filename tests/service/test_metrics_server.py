"""The metrics on the wire, in memory and from a daemon under load."""

import json
import re
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from etc.promtool import promtool
from service.metered import Metered, samples
from twisted.internet.address import IPv4Address
from twisted.internet.testing import StringTransport

from policyd.cli.main import main
from policyd.service.exposition import CONTENT_TYPE
from policyd.service.metrics_server import (
    LONGEST_REQUEST,
    MOST_CONNECTIONS,
    PATIENCE,
    MetricsServer,
    MetricsService,
)

GET = b"GET /metrics HTTP/1.1\r\nHost: mx:10041\r\nAccept: */*\r\n\r\n"
LOOPBACK = IPv4Address("TCP", "127.0.0.1", 40000)


class House:
    """A service over the metrics of nobody."""

    def __init__(self, directory: Path) -> None:
        self.metered = Metered(directory)
        self.metered.persistence.load(self.metered.engine.policy)
        self.service = MetricsService(self.metered.metrics, self.metered.log, self.metered.clock)

    def connect(self) -> tuple[MetricsServer, StringTransport]:
        server = self.service.buildProtocol(LOOPBACK)
        assert isinstance(server, MetricsServer)
        wire = StringTransport(peerAddress=LOOPBACK)
        server.makeConnection(wire)  # type: ignore[arg-type]
        return server, wire

    def get(self, asked: bytes = GET, chunk: int = 100_000) -> tuple[int, dict[str, str], bytes]:
        """Ask, in chunks; return status, headers and body of the answer."""
        server, wire = self.connect()
        for at in range(0, len(asked), chunk):
            server.dataReceived(asked[at : at + chunk])
        assert wire.disconnecting
        return taken_apart(wire.value())


def taken_apart(answer: bytes) -> tuple[int, dict[str, str], bytes]:
    head, _, body = answer.partition(b"\r\n\r\n")
    first, *fields = head.decode("ascii").split("\r\n")
    assert first.startswith("HTTP/1.1 ")
    return int(first.split()[1]), dict(field.split(": ", 1) for field in fields), body


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


@pytest.mark.parametrize("chunk", [1, 7, 100_000])
def test_the_figures_are_at_metrics(house: House, chunk: int) -> None:
    status, headers, body = house.get(chunk=chunk)
    assert status == 200
    assert headers["Content-Type"] == CONTENT_TYPE
    assert headers["Connection"] == "close"
    assert int(headers["Content-Length"]) == len(body)
    assert samples(body)["policyd_enforcing"] == 1


@pytest.mark.parametrize(
    "asked",
    [
        b"GET /metrics HTTP/1.0\r\n\r\n",
        b"GET /metrics HTTP/1.1\nHost: x\n\n",
        b"GET /metrics?name[]=up HTTP/1.1\r\n\r\n",
        GET + b"GET /metrics HTTP/1.1\r\n\r\n",
    ],
)
def test_clients_of_all_kinds_get_one_answer(house: House, asked: bytes) -> None:
    status, _, body = house.get(asked)
    assert status == 200
    assert body.count(b"# TYPE policyd_enforcing ") == 1


def test_head_gets_no_body(house: House) -> None:
    status, headers, body = house.get(b"HEAD /healthz HTTP/1.1\r\n\r\n")
    assert (status, body) == (200, b"")
    assert int(headers["Content-Length"]) > 0


def test_health_is_a_line_of_json(house: House) -> None:
    asked = b"GET /healthz HTTP/1.1\r\n\r\n"
    status, headers, body = house.get(asked)
    assert status == 200
    assert headers["Content-Type"] == "application/json"
    assert body.endswith(b"}\n")
    assert json.loads(body)["status"] == "ok"
    house.metered.metrics.stopping = True
    status, _, body = house.get(asked)
    assert status == 503
    assert json.loads(body)["status"] == "stopping"


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", 404),
        (b"GET /metrics/ HTTP/1.1\r\n\r\n", 404),
        (b"GET /../etc/passwd HTTP/1.1\r\n\r\n", 404),
        (b"GET /\xff\xfe HTTP/1.1\r\n\r\n", 404),
        (b"POST /metrics HTTP/1.1\r\nContent-Length: 9\r\n\r\n", 405),
        (b"GET /metrics\r\n\r\n", 400),
        (b"GET /metrics HTTP/2.0\r\n\r\n", 400),
        (b"\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\n\n", 400),
        (b"request=smtpd_access_policy\nprotocol_state=RCPT\n\n", 400),
        (b"GET /" + b"x" * LONGEST_REQUEST, 431),
        (b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * LONGEST_REQUEST, 431),
    ],
)
def test_anything_else_is_told_so(house: House, asked: bytes, expected: int) -> None:
    assert house.get(asked)[0] == expected
    assert house.metered.lines.events == []


def test_who_says_nothing_is_cut_off(house: House) -> None:
    server, wire = house.connect()
    server.dataReceived(GET[:10])
    house.metered.clock.advance(PATIENCE - 1)
    assert not wire.disconnected
    house.metered.clock.advance(2)
    assert wire.disconnected


def test_who_does_not_read_the_answer_is_cut_off(house: House) -> None:
    server, wire = house.connect()
    server.dataReceived(GET)
    assert wire.disconnecting
    house.metered.clock.advance(PATIENCE + 1)
    assert wire.disconnected


def test_who_has_left_leaves_nothing(house: House) -> None:
    server, _ = house.connect()
    server.connectionLost()
    assert house.service.servers == set()
    assert house.metered.clock.getDelayedCalls() == []


def test_of_too_many_connections_the_last_is_told_so(house: House) -> None:
    first = [house.connect() for _ in range(MOST_CONNECTIONS)]
    _, wire = house.connect()
    assert taken_apart(wire.value())[0] == 503
    assert wire.disconnecting
    for server, _ in first:
        server.connectionLost()
    assert house.connect()[1].value() == b""


def test_our_own_fault_is_an_answer_and_a_line(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(house.metered.engine, "transactions", None)
    assert house.get()[0] == 500
    assert house.metered.lines.events == ["task-failed"]
    assert house.get(b"GET /healthz HTTP/1.1\r\n\r\n")[0] == 200


# from a daemon

RULES = """\
version: 1
mode: enforce
local: {domains: [local.example]}
accounts: {default_domain: local.example}
limits:
  - {id: few, per: [account], count: recipients, recipients: external, max: 3, window: 1h}
  - {id: seen, per: [account], count: messages, max: 2, window: 1h, mode: observe}
state: {directory: /nowhere, snapshot_every: 1s}
"""
SECONDS = 30.0
SENDERS = 8
EACH = 50


class Daemon:
    """A daemon, its policy socket, and where its figures are."""

    def __init__(self, directory: Path, port: int, process: subprocess.Popen[bytes]) -> None:
        self.policy = directory / "policy"
        self.log = directory / "log"
        self.rules = directory / "policy.yaml"
        self.process = process
        self.url = f"http://127.0.0.1:{port}"

    def get(self, path: str) -> tuple[int, bytes]:
        try:
            with urllib.request.urlopen(f"{self.url}{path}", timeout=SECONDS) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read()

    def figures(self) -> dict[str, float]:
        return samples(self.get("/metrics")[1])

    def waits_for(self, name: str, value: float) -> None:
        until = time.monotonic() + SECONDS
        while self.figures().get(name) != value:
            assert time.monotonic() < until, (name, self.figures().get(name))
            time.sleep(0.05)

    def send(self, who: str, messages: int) -> list[str]:
        """Send *messages* to one recipient each; return the verbs of all answers."""
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(SECONDS)
            client.connect(str(self.policy))
            replies = client.makefile("r", encoding="ascii")
            verbs = [
                self._ask(client, replies, who, f"{who}-{number}", stage)
                for number in range(messages)
                for stage in ("RCPT", "END-OF-MESSAGE")
            ]
            replies.close()
        return verbs

    def _ask(self, client: socket.socket, replies: Any, who: str, name: str, stage: str) -> str:
        given = f"instance={name}\nqueue_id={name}\nsasl_username={who}\n"
        given += f"recipient=r@away.example\nprotocol_state={stage}\n"
        given += f"recipient_count={int(stage != 'RCPT')}\n"
        client.sendall(f"request=smtpd_access_policy\n{given}\n".encode())
        verb = str(replies.readline()).removeprefix("action=").split()[0]
        replies.readline()
        return verb


@contextmanager
def serving(directory: Path, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run a daemon until the end of the block; it is ready at its beginning."""
    rules = directory / "policy.yaml"
    rules.write_text(RULES, encoding="utf-8")
    with (
        (directory / "log").open("wb") as log,
        subprocess.Popen(
            [
                *(sys.executable, "-m", "policyd", "serve", "--config", rules),
                *("--state", directory / "state", "--admin", "none"),
                *("--listen", f"unix:{directory / 'policy'}", *arguments),
            ],
            stdout=subprocess.DEVNULL,
            stderr=log,
        ) as process,
    ):
        try:
            until = time.monotonic() + SECONDS
            while "event=started" not in (directory / "log").read_text():
                assert process.poll() is None
                assert time.monotonic() < until
                time.sleep(0.02)
            yield process
        finally:
            process.terminate()
            process.wait(SECONDS)


@pytest.fixture
def port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def daemon(tmp_path: Path, port: int) -> Iterator[Daemon]:
    with serving(tmp_path, "--metrics", f"tcp:127.0.0.1:{port}") as process:
        yield Daemon(tmp_path, port, process)


def test_a_scrape_under_load_is_one_that_prometheus_reads_and_tells_what_was_sent(
    daemon: Daemon,
) -> None:
    with ThreadPoolExecutor(SENDERS) as pool:
        sending = [pool.submit(daemon.send, f"user{n}", EACH) for n in range(SENDERS)]
        scrapes = [daemon.get("/metrics")]
        while not all(one.done() for one in sending):
            scrapes.append(daemon.get("/metrics"))
        verbs = [one.result() for one in sending]
    scrapes.append(daemon.get("/metrics"))
    assert {status for status, _ in scrapes} == {200}
    for _, text in (scrapes[len(scrapes) // 2], scrapes[-1]):
        assert promtool("check", "metrics", given=text) == ""
    answered = [
        sum(n for name, n in samples(text).items() if name.startswith("policyd_requests_total"))
        for _, text in scrapes
    ]
    assert answered == sorted(answered)
    assert any(0 < number < SENDERS * EACH * 2 for number in answered)  # it was under load

    found = samples(scrapes[-1][1])
    for at, stage in enumerate(("RCPT", "END-OF-MESSAGE")):
        said = [verb for one in verbs for verb in one[at::2]]
        for verb in set(said):
            name = f'policyd_requests_total{{stage="{stage}",answer="{verb}"}}'
            assert found[name] == said.count(verb)
    refused = sum(one.count("REJECT") for one in verbs)
    decisions = [
        number
        for name, number in found.items()
        if re.match(r'policyd_decisions_total\{limit="few",.*mode="enforce"', name)
    ]
    assert sum(decisions) == refused > 0
    assert found["policyd_decision_duration_seconds_count"] == SENDERS * EACH * 2
    assert found['policyd_keys{limit="few"}'] == SENDERS
    assert found['policyd_keys_over_limit{limit="few"}'] == SENDERS
    assert found["policyd_requests_without_login_total"] == 0
    assert found["policyd_protocol_errors_total"] == 0
    assert found["policyd_deciding_faults_total"] == 0


def test_a_daemon_tells_how_its_state_and_its_rules_are(daemon: Daemon) -> None:
    daemon.send("alice", 2)
    daemon.waits_for("policyd_state_trouble", 0)
    assert daemon.figures()["policyd_journal_lag_seconds"] < SECONDS
    until = time.monotonic() + SECONDS
    while "policyd_snapshot_duration_seconds" not in daemon.figures():
        assert time.monotonic() < until
        time.sleep(0.1)
    before = daemon.figures()["policyd_last_successful_reload_timestamp_seconds"]
    for rules, good in (("limits: [", 0), (RULES, 1)):
        daemon.rules.write_text(rules, encoding="utf-8")
        daemon.process.send_signal(1)  # SIGHUP
        daemon.waits_for("policyd_last_reload_success", good)
        assert json.loads(daemon.get("/healthz")[1])["reload"] == ("ok" if good else "failed")
    assert daemon.figures()["policyd_last_successful_reload_timestamp_seconds"] > before
    assert daemon.get("/healthz")[0] == 200
    assert daemon.get("/elsewhere")[0] == 404


def test_a_port_that_is_taken_stops_no_mail(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with serving(tmp_path, "--metrics", f"tcp:127.0.0.1:{port}") as process:
            assert "event=metrics-unavailable" in (tmp_path / "log").read_text()
            assert Daemon(tmp_path, port, process).send("alice", 1) == ["DUNNO", "DUNNO"]


def test_a_unix_socket_is_served_and_removed(tmp_path: Path) -> None:
    path = tmp_path / "metrics"
    with serving(tmp_path, "--metrics", f"unix:{path}"), socket.socket(socket.AF_UNIX) as client:
        client.settimeout(SECONDS)
        client.connect(str(path))
        client.sendall(b"GET /healthz HTTP/1.1\r\n\r\n")
        assert client.recv(15) == b"HTTP/1.1 200 OK"
    assert not path.exists()


def test_without_an_address_nothing_is_served(tmp_path: Path) -> None:
    with serving(tmp_path, "--metrics", "none"):
        assert "metrics" not in (tmp_path / "log").read_text()


def test_an_address_that_is_none_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["serve", "--config", "x", "--metrics", "9100"])
    assert stopped.value.code == 2
    assert "write tcp:127.0.0.1:9100" in capsys.readouterr().err


def test_figures_that_others_reach_are_warned_of(tmp_path: Path) -> None:
    # in memory: nothing of a test is to be reached by others
    script = """
import sys
from pathlib import Path
from twisted.internet.testing import MemoryReactorClock
from policyd.service import application
from policyd.service.addresses import parse_listen
from policyd.service.log_writer import Priority
from policyd.config.load import load
memory = application.reactor = MemoryReactorClock()
memory.run = lambda: None
rules = Path(sys.argv[1])
loaded = load(rules)
listen = parse_listen("tcp:127.0.0.1:1")
metrics = parse_listen("tcp:0.0.0.0:2")
options = application.Options(
    rules, (), listen, rules.parent / "state", Priority.INFO, metrics=metrics
)
application.serve(options, loaded, loaded.policy, lambda *_: None)
print([port[0] for port in memory.tcpServers])
"""
    rules = tmp_path / "policy.yaml"
    rules.write_text(RULES, encoding="utf-8")
    command = [sys.executable, "-c", script, rules]
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=True)
    assert done.stdout == "[1, 2]\n"
    warned = re.findall(r"warning event=listens-beyond-loopback listen=(\S+)", done.stderr)
    assert warned == ["tcp:0.0.0.0:2"]
