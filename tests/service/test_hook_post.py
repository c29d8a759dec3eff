"""Web addresses that are posted to, for real, on this machine."""

import socket
import ssl
import threading
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import closing
from http.client import HTTPConnection, HTTPResponse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from excuse import unable
from service.reactors import run, until
from twisted.internet.defer import Deferred

from policyd import __version__
from policyd.service.hook_post import Post, shown

# of localhost, self-signed, with its key
CERTIFICATE = Path(__file__).parents[1] / "data" / "localhost.pem"
NEWS = b'{"event": "lifted"}\n'
LONG = 1000.0


class Server(ThreadingHTTPServer):
    """Answers as it is told, and remembers what it was sent."""

    daemon_threads = True

    def __init__(self, family: socket.AddressFamily = socket.AF_INET) -> None:
        self.address_family = family
        self.requests: list[tuple[str, dict[str, str], bytes]] = []
        self.answer: Callable[[Handler], object] = lambda handler: handler.give(204)
        self.over = threading.Event()  # ends those that hang
        super().__init__(("::1" if family is socket.AF_INET6 else "127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.serve_forever, args=(0.01,))
        self.thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: a client may go whenever it likes."""

    def stop(self) -> None:
        self.over.set()
        self.shutdown()
        self.thread.join()
        self.server_close()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.requests.append((self.path, dict(self.headers), body))
        self.server.answer(self)

    do_GET = do_POST  # noqa: N815 - http.server's name

    def give(self, code: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(code)
        for name, value in headers.items():
            self.send_header(name, value)
        if code != 204:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def give_raw(self, data: bytes) -> None:
        self.wfile.write(data)
        self.close_connection = True

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture
def server() -> Iterator[Server]:
    one = Server()
    try:
        yield one
    finally:
        one.stop()


def outcome(
    url: str,
    meanwhile: Callable[[Any, Post], object] = lambda *_: None,
    timeout: float = LONG,
) -> str:
    def work(reactor: Any) -> Deferred[str]:
        post = Post(reactor, url, NEWS, timeout).begin()
        meanwhile(reactor, post)
        return post.ended

    said: str = run(work)
    return said


def ended_once(condition: Callable[[], Any]) -> Callable[[Any, Post], object]:
    def meanwhile(reactor: Any, post: Post) -> object:
        return until(reactor, condition).addCallback(lambda _: post.end(LONG))

    return meanwhile


def test_the_news_is_the_body_of_the_request(server: Server) -> None:
    assert outcome(server.url + "/policyd/tell?who=me#here") == ""
    ((path, headers, body),) = server.requests
    assert path == "/policyd/tell?who=me"
    assert body == NEWS
    assert headers["Content-Type"] == "application/json"
    assert headers["User-Agent"] == f"policyd/{__version__}"
    assert headers["Host"] == f"127.0.0.1:{server.server_port}"
    assert "Authorization" not in headers


def test_an_address_may_lack_a_path_or_have_a_name(server: Server) -> None:
    assert outcome(server.url) == ""
    assert outcome(server.url.replace("127.0.0.1", "localhost")) == ""
    assert [path for path, _, _ in server.requests] == ["/", "/"]


def test_an_address_may_be_of_ipv6() -> None:
    try:
        server = Server(socket.AF_INET6)
    except OSError as error:
        unable(f"no IPv6 here: {error}")
    try:
        assert outcome(f"http://[::1]:{server.server_port}/x") == ""
    finally:
        server.stop()
    ((_, headers, _),) = server.requests
    assert headers["Host"] == f"[::1]:{server.server_port}"


def test_a_login_in_the_address_is_no_part_of_the_host(server: Server) -> None:
    assert outcome(server.url.replace("//", "//policyd:p%40ss:word@")) == ""
    ((_, headers, _),) = server.requests
    assert headers["Authorization"] == f"Basic {b64encode(b'policyd:p@ss:word').decode()}"
    assert "@" not in headers["Host"]


@pytest.mark.parametrize("code", [200, 201, 202, 204])
def test_2xx_is_success(server: Server, code: int) -> None:
    server.answer = lambda handler: handler.give(code)
    assert outcome(server.url) == ""


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (400, "the answer was 400 Bad Request"),
        (404, "the answer was 404 Not Found"),
        (500, "the answer was 500 Internal Server Error"),
        (503, "the answer was 503 Service Unavailable"),
    ],
)
def test_other_answers_are_failures(server: Server, code: int, said: str) -> None:
    server.answer = lambda handler: handler.give(code, b"long explanation")
    assert outcome(server.url) == said


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(server: Server, code: int) -> None:
    server.answer = lambda handler: handler.give(code, Location=server.url + "/elsewhere")
    assert outcome(server.url).startswith(f"the answer was {code} ")
    assert [path for path, _, _ in server.requests] == ["/"]


def test_nobody_who_listens_is_a_failure() -> None:
    with closing(socket.socket()) as nobody:
        nobody.bind(("127.0.0.1", 0))
        said = outcome(f"http://127.0.0.1:{nobody.getsockname()[1]}/")
    assert said.startswith("ConnectionRefusedError: ")


@pytest.mark.parametrize(
    "answer", [b"", b"220 mail.example ESMTP\r\n", b"HTTP/1.1 nonsense\r\n\r\n", b"HTTP/1.1 20"]
)
def test_what_is_no_answer_is_a_failure(server: Server, answer: bytes) -> None:
    server.answer = lambda handler: handler.give_raw(answer)
    assert outcome(server.url) != ""


def test_a_server_that_hangs_is_not_waited_for_any_longer(server: Server) -> None:
    server.answer = lambda handler: handler.server.over.wait()
    said = outcome(server.url, ended_once(lambda: server.requests))
    assert said == "there was no answer"


def test_a_server_that_does_not_even_accept_is_not_waited_for_any_longer() -> None:
    with closing(socket.create_server(("127.0.0.1", 0), backlog=1)) as deaf:
        url = f"http://127.0.0.1:{deaf.getsockname()[1]}/"
        assert outcome(url, timeout=0.2) == "TimeoutError: timed out"


def test_a_post_may_be_ended_before_there_is_a_connection(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = threading.Event()
    connect = HTTPConnection.connect

    def slowly(connection: HTTPConnection) -> None:
        ended.wait()
        connect(connection)

    def meanwhile(_: Any, post: Post) -> None:
        post.end(LONG)
        ended.set()

    monkeypatch.setattr(HTTPConnection, "connect", slowly)
    assert outcome(server.url, meanwhile) == "there was no answer"
    assert server.requests == []


@pytest.mark.parametrize(("code", "said"), [(200, ""), (500, "the answer was 500 Oh")])
def test_an_answer_counts_whatever_comes_after_its_first_lines(
    server: Server, code: int, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    reading = threading.Event()
    read = HTTPResponse.read

    def noticed(response: HTTPResponse, most: int) -> bytes:
        reading.set()
        return read(response, most)

    def answer(handler: Handler) -> None:
        handler.wfile.write(b"HTTP/1.1 %d Oh\r\nContent-Length: 99\r\n\r\nbegun" % code)
        handler.server.over.wait()

    monkeypatch.setattr(HTTPResponse, "read", noticed)
    server.answer = answer
    assert outcome(server.url, ended_once(reading.is_set)) == said


def test_an_answer_without_end_is_cut_off(server: Server) -> None:
    def answer(handler: Handler) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while not handler.server.over.is_set():
            handler.wfile.write(b"x" * 10_000)

    server.answer = answer
    assert outcome(server.url) == ""


@pytest.fixture
def tls(server: Server) -> str:
    """Let *server* speak TLS; return its address."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    return f"https://localhost:{server.server_port}/x"


def test_https_wants_a_certificate_that_this_machine_trusts(
    server: Server, tls: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "certificate verify failed" in outcome(tls)
    monkeypatch.setenv("SSL_CERT_FILE", str(CERTIFICATE))
    assert "certificate verify failed" in outcome(tls.replace("localhost", "127.0.0.1"))
    assert server.requests == []
    assert outcome(tls) == ""
    ((path, headers, body),) = server.requests
    assert path == "/x"
    assert headers["Host"] == f"localhost:{server.server_port}"
    assert body == NEWS


def test_https_that_hangs_is_not_waited_for_any_longer(
    server: Server, tls: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(CERTIFICATE))
    server.answer = lambda handler: handler.server.over.wait()
    assert outcome(tls, ended_once(lambda: server.requests)) == "there was no answer"


def test_https_whose_server_never_says_hello_comes_to_an_end() -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as deaf:
        url = f"https://127.0.0.1:{deaf.getsockname()[1]}/"
        assert "timed out" in outcome(url, timeout=0.2)


@pytest.mark.parametrize(
    ("url", "seen"),
    [
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("https://me:pass@hooks.example/x?token=1#y", "https://hooks.example/x"),
        ("http://[::1]:8080/x", "http://[::1]:8080/x"),
    ],
)
def test_the_log_is_spared_what_is_secret_in_an_address(url: str, seen: str) -> None:
    assert shown(url) == seen
