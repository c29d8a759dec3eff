"""The login: a private dovecot that does nothing but check passwords for Postfix."""

import subprocess
from pathlib import Path

from .programs import program
from .waiting import wait_until

PASSWORD = "secret"

CONFIGURATION = """\
base_dir = {directory}/run
log_path = {directory}/log
protocols =
listen = 127.0.0.1
ssl = no
disable_plaintext_auth = no
auth_mechanisms = plain login
auth_username_format = %Lu
passdb {{
  driver = passwd-file
  args = scheme=PLAIN username_format=%u {directory}/users
}}
userdb {{
  driver = static
  args = uid=nobody gid=nogroup home=/nonexistent
}}
service auth {{
  unix_listener {socket} {{
    mode = 0666
  }}
}}
service anvil {{
  chroot =
}}
"""


class Dovecot:
    """Runs from start() to stop(); offers its login service on *socket*."""

    def __init__(self, directory: Path, socket: Path, users: list[str]) -> None:
        self.directory = directory
        self.socket = socket
        self._process: subprocess.Popen[bytes] | None = None
        directory.mkdir()
        configuration = CONFIGURATION.format(directory=directory, socket=socket)
        (directory / "dovecot.conf").write_text(configuration, encoding="ascii")
        lines = [f"{user}:{{PLAIN}}{PASSWORD}\n" for user in users]
        (directory / "users").write_text("".join(lines), encoding="ascii")

    def start(self) -> None:
        # -F: in the foreground, so that it is ours to stop
        command = [program("dovecot"), "-F", "-c", str(self.directory / "dovecot.conf")]
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
        wait_until(self._ready, f"dovecot offers logins; see {self.directory}/log")

    def stop(self) -> None:
        if self._process:
            self._process.terminate()
            self._process.wait(30)

    def _ready(self) -> bool:
        if self._process and self._process.poll() is not None:
            message = f"dovecot ended with {self._process.returncode}"
            raise RuntimeError(message)
        return self.socket.exists()
