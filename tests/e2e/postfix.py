"""A private Postfix on loopback: started, watched, and stopped at the end."""

import re
import shutil
import subprocess
from pathlib import Path

from .postfix_conf import HEADER_CHECKS, USERS, main_cf, master_cf
from .programs import program
from .waiting import wait_until


class PrivatePostfix:
    """A Postfix in *directory*, which every user must be able to pass through."""

    def __init__(self, directory: Path, ports: dict[str, int]) -> None:
        self.ports = ports
        self.directory = directory
        self.queue = directory / "queue"
        self.policy_socket = self.queue / "policyd" / "policy"
        self.login_socket = self.queue / "private" / "auth"
        self.configuration = directory / "conf"
        self._log = directory / "maillog"
        for path in (self.configuration, self.queue, self.policy_socket.parent, directory / "data"):
            path.mkdir()
            path.chmod(0o755)
        shutil.chown(directory / "data", "postfix")
        # as the snippet says
        shutil.chown(self.policy_socket.parent, group="postfix")
        self.policy_socket.parent.chmod(0o750)
        self._write("users", USERS)
        self._write("header_checks", HEADER_CHECKS)
        self._write("main.cf", main_cf(directory, ports))
        self._write("master.cf", master_cf(ports, self.policy_socket))
        self._make_certificate()

    def _write(self, name: str, text: str) -> None:
        (self.configuration / name).write_text(text, encoding="utf-8")

    def _make_certificate(self) -> None:
        words = "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=mail.test".split()
        key, certificate = (str(self.configuration / name) for name in ("key.pem", "cert.pem"))
        subprocess.run(
            [program("openssl"), *words, "-keyout", key, "-out", certificate],
            check=True,
            capture_output=True,
        )

    def _postfix(self, word: str) -> None:
        done = subprocess.run(
            [program("postfix"), "-c", str(self.configuration), word],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            message = f"postfix {word} failed: {done.stdout}{done.stderr}{self.log()}"
            raise RuntimeError(message)

    def start(self) -> None:
        self._postfix("start")
        wait_until(lambda: "daemon started" in self.log(), "Postfix starts")

    def stop(self) -> None:
        if (self.queue / "pid" / "master.pid").exists():
            self._postfix("stop")

    def sendmail(self, sender: str, recipient: str, content: bytes) -> None:
        """Send mail as scripts on the machine do."""
        subprocess.run(
            [program("sendmail"), "-C", str(self.configuration), "-f", sender, recipient],
            input=content,
            check=True,
        )

    def log(self, since: int = 0) -> str:
        """Return what Postfix has logged since a mark()."""
        if not self._log.exists():
            return ""
        with self._log.open(encoding="utf-8", errors="backslashreplace") as file:
            file.seek(since)
            return file.read()

    def mark(self) -> int:
        return self._log.stat().st_size

    def wait_for_log(self, pattern: str, since: int) -> str:
        """Return the first log line since *since* in which *pattern* is found, when it comes."""
        wait_until(lambda: re.search(pattern, self.log(since)), f"Postfix logs {pattern}")
        return next(line for line in self.log(since).splitlines() if re.search(pattern, line))

    def drain(self) -> None:
        """Wait until all mail that was accepted has been delivered.

        Only then does "it is not in the sink" mean that it was not let through.
        """
        wait_until(
            lambda: not self._waiting() and not self._waiting(),
            "the queue becomes empty",
            every=0.02,
        )

    def _waiting(self) -> list[Path]:
        # mail moves through these in this order, so none is overlooked on its way
        return [
            path
            for name in ("maildrop", "incoming", "active", "deferred")
            for path in (self.queue / name).rglob("*")
            if path.is_file() and _is_whole(path)
        ]

    def held(self) -> list[Path]:
        """Return the mail that Postfix holds for an administrator."""
        return list((self.queue / "hold").iterdir())

    def empty(self) -> None:
        """Delete all mail, whatever a failed test has left."""
        subprocess.run(
            [program("postsuper"), "-c", str(self.configuration), "-d", "ALL"],
            check=True,
            capture_output=True,
        )


def _is_whole(path: Path) -> bool:
    # Postfix marks a queue file that is complete as executable
    try:
        return bool(path.stat().st_mode & 0o100)
    except FileNotFoundError:
        return False
