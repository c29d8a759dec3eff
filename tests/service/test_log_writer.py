"""Lines to standard error, by a thread of their own."""

import fcntl
import os
import re
import threading
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest

from policyd.service.log_writer import LogWriter, Priority

PATIENCE = 60.0
"""Seconds after which a test gives up; none waits as long when all is well."""


class Pipe:
    """A pipe to read back what was written."""

    def __init__(self) -> None:
        self.reader, self.writer = os.pipe()
        self._rest = b""

    @property
    def journal(self) -> dict[str, str]:
        """What systemd says when this pipe leads to the journal."""
        status = os.fstat(self.writer)
        return {"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"}

    def read(self, count: int) -> list[str]:
        """Return the next *count* lines."""
        while self._rest.count(b"\n") < count:
            data = os.read(self.reader, 1 << 16)
            assert data, "the writer has closed"
            self._rest += data
        *lines, self._rest = self._rest.split(b"\n", count)
        return [line.decode("ascii") for line in lines]

    def read_rest(self) -> list[str]:
        """Return all further lines, up to the end."""
        os.close(self.writer)
        while data := os.read(self.reader, 1 << 16):
            self._rest += data
        return self._rest.decode("ascii").splitlines()

    def fill(self) -> None:
        """Leave no room, so that the next write waits until somebody reads."""
        fcntl.fcntl(self.writer, fcntl.F_SETFL, os.O_NONBLOCK)
        with suppress(BlockingIOError):
            while os.write(self.writer, b"x" * 4096):
                pass
        with suppress(BlockingIOError):
            while os.write(self.writer, b"x"):
                pass
        fcntl.fcntl(self.writer, fcntl.F_SETFL, 0)

    def close(self) -> None:
        for descriptor in (self.reader, self.writer):
            with suppress(OSError):
                os.close(descriptor)


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    made = Pipe()
    yield made
    made.close()


def in_time(work: threading.Thread) -> bool:
    """Run *work* and tell whether it came to an end."""
    work.daemon = True
    work.start()
    work.join(PATIENCE)
    return not work.is_alive()


# what is written


def test_to_the_journal_goes_the_priority_and_the_line(pipe: Pipe) -> None:
    writer = LogWriter(pipe.writer, Priority.DEBUG, pipe.journal)
    for priority in Priority:
        writer.write(priority, f"event={priority.name}")
    writer.close()
    assert pipe.read_rest() == [
        "<3>event=ERROR",
        "<4>event=WARNING",
        "<5>event=NOTICE",
        "<6>event=INFO",
        "<7>event=DEBUG",
    ]


@pytest.mark.parametrize("environ", [{}, {"JOURNAL_STREAM": "1:2"}, {"JOURNAL_STREAM": "junk"}])
def test_elsewhere_goes_the_time_and_the_name_of_the_priority(
    pipe: Pipe, environ: dict[str, str]
) -> None:
    writer = LogWriter(pipe.writer, Priority.DEBUG, environ)
    writer.write(Priority.WARNING, "event=x")
    writer.close()
    (line,) = pipe.read_rest()
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ warning event=x", line)


def test_a_descriptor_that_is_none_is_no_journal() -> None:
    reader, descriptor = os.pipe()
    os.close(reader)
    os.close(descriptor)
    writer = LogWriter(descriptor, Priority.DEBUG, {"JOURNAL_STREAM": "0:0"})
    writer.write(Priority.ERROR, "event=x")
    writer.close()
    assert not writer._thread.is_alive()


@pytest.mark.parametrize("least", Priority)
def test_what_is_less_urgent_is_not_written(pipe: Pipe, least: Priority) -> None:
    writer = LogWriter(pipe.writer, least, pipe.journal)
    for priority in Priority:
        writer.write(priority, priority.name)
    writer.close()
    expected = [f"<{priority}>{priority.name}" for priority in Priority if priority <= least]
    assert pipe.read_rest() == expected


def test_the_least_urgent_may_change(pipe: Pipe) -> None:
    writer = LogWriter(pipe.writer, Priority.NOTICE, pipe.journal)
    writer.write(Priority.DEBUG, "before")
    writer.least = Priority.DEBUG
    writer.write(Priority.DEBUG, "after")
    writer.close()
    assert pipe.read_rest() == ["<7>after"]


def test_a_line_is_written_in_ascii_whatever_is_in_it(pipe: Pipe) -> None:
    writer = LogWriter(pipe.writer, Priority.DEBUG, pipe.journal)
    writer.write(Priority.INFO, "jörg \udcff 例")
    writer.close()
    assert pipe.read_rest() == ["<6>j\\xf6rg \\udcff \\u4f8b"]


def test_lines_come_in_order_and_while_it_is_open(pipe: Pipe) -> None:
    writer = LogWriter(pipe.writer, Priority.DEBUG, pipe.journal)
    for number in range(5000):
        writer.write(Priority.INFO, f"line {number}")
        if number % 2500 == 2499:
            lines = pipe.read(2500)
            assert lines == [f"<6>line {n}" for n in range(number - 2499, number + 1)]
    writer.close()


def test_lines_that_wait_are_written_together(pipe: Pipe, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[bytes] = []
    write = os.write

    def noted(descriptor: int, data: memoryview) -> int:
        written.append(bytes(data))
        return write(descriptor, data)

    pipe.fill()
    monkeypatch.setattr(os, "write", noted)
    writer = LogWriter(pipe.writer, Priority.DEBUG, pipe.journal)
    writer.write(Priority.INFO, "the one that is stuck")
    deadline = time.monotonic() + PATIENCE
    while not written and time.monotonic() < deadline:
        time.sleep(0.001)
    for number in range(150):
        writer.write(Priority.INFO, f"{number:096}")
    pipe.read(151)
    writer.close()
    assert [data.count(b"\n") for data in written] == [1, 40, 40, 40, 30]


def test_a_pipe_never_ends_in_half_a_line(pipe: Pipe) -> None:
    fcntl.fcntl(pipe.writer, fcntl.F_SETFL, os.O_NONBLOCK)
    writer = LogWriter(pipe.writer, Priority.DEBUG, pipe.journal)
    line = "x" * 200  # no power of two
    for _ in range(1000):
        writer.write(Priority.INFO, line)
    deadline = time.monotonic() + PATIENCE
    while writer._queue.qsize() > 900 and time.monotonic() < deadline:
        time.sleep(0.001)
    time.sleep(0.1)  # until nothing more goes into it
    written = os.read(pipe.reader, 1 << 20)
    assert set(written.splitlines(keepends=True)) == {f"<6>{line}\n".encode("ascii")}
    pipe.read(1000 - written.count(b"\n"))
    writer.close()


def test_a_line_longer_than_the_pipe_is_written_whole(pipe: Pipe) -> None:
    fcntl.fcntl(pipe.writer, fcntl.F_SETFL, os.O_NONBLOCK)
    writer = LogWriter(pipe.writer, Priority.DEBUG, pipe.journal)
    long = "x" * 1_000_000
    for _ in range(3):
        writer.write(Priority.INFO, long)
    assert pipe.read(3) == [f"<6>{long}"] * 3
    writer.close()


# a reader that does not read


def test_a_reader_that_is_stuck_blocks_nobody_and_what_is_lost_is_counted(pipe: Pipe) -> None:
    pipe.fill()
    writer = LogWriter(pipe.writer, Priority.DEBUG, pipe.journal)
    writer.write(Priority.INFO, "the one that is stuck")
    deadline = time.monotonic() + PATIENCE
    while writer._queue.qsize() and time.monotonic() < deadline:
        time.sleep(0.001)

    def write_all() -> None:
        for number in range(10_000 + 123):
            writer.write(Priority.INFO, f"line {number}")

    assert in_time(threading.Thread(target=write_all))
    stuck, *kept = pipe.read(1 + 10_000)
    assert stuck.strip("x") == "<6>the one that is stuck"
    assert kept == [f"<6>line {number}" for number in range(10_000)]
    # said once, before the next line
    writer.write(Priority.INFO, "there is room again")
    writer.write(Priority.INFO, "and again")
    assert pipe.read(3) == [
        "<4>event=log-lines-lost count=123",
        "<6>there is room again",
        "<6>and again",
    ]
    writer.close()


def test_closing_does_not_wait_for_a_reader_that_is_stuck(pipe: Pipe) -> None:
    pipe.fill()
    writer = LogWriter(pipe.writer, Priority.DEBUG, pipe.journal)
    writer.write(Priority.INFO, "one")
    writer.write(Priority.INFO, "two")
    assert in_time(threading.Thread(target=writer.close))
    assert writer._thread.is_alive()
    assert writer._thread.daemon  # it does not keep the process
    assert [line.strip("x") for line in pipe.read(2)] == ["<6>one", "<6>two"]
    writer._thread.join(PATIENCE)
    assert not writer._thread.is_alive()


def test_a_reader_that_is_gone_is_no_error(pipe: Pipe) -> None:
    writer = LogWriter(pipe.writer, Priority.DEBUG, pipe.journal)
    os.close(pipe.reader)
    for number in range(100):
        writer.write(Priority.INFO, str(number))
    writer.close()
    assert not writer._thread.is_alive()
    assert writer._dropped == 0
