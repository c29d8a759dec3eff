"""What may become of a mail that is handed to an SMTP server."""

from typing import NamedTuple


class Refused(NamedTuple):
    """A recipient that was refused while others were not, with the server's reply."""

    recipient: str
    code: int
    words: str

    @property
    def for_now(self) -> bool:
        """Whether it may be accepted later."""
        return 400 <= self.code < 500


class RefusedError(Exception):
    """The server took the message for nobody."""

    def __init__(self, code: int, words: str) -> None:
        super().__init__(f"{code} {words}")


class NoReplyError(Exception):
    """The server could not be reached, or did not say what becomes of the message."""
