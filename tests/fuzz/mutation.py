"""Good input made bad: fast, and the same again for the same seed."""

import random
from collections.abc import Callable, Sequence
from typing import Any, Final

NUMBERS: Final = (-1, 0, 1, 255, 2**31, 2**63, 2**64, 10**30, 0.5, -0.0, 1e308)
TEXTS: Final = (
    *("", " ", "\n", "\r\n", "\0", "=", "\t", "\x0b", "\x1c", "\x7f", "\x85", "\u2028", "\udc80"),
    *("\ud800", "\ufeff", "\u202e", "ß", "İ", "ﷺ", "🦄", "e\u0301", "xn--", "xn--a-", "漢.example"),
    *("@", "@@", "a@", "@b", '"a b"@c', "a@b@c", ".", "..", "a..b", "-", "<>", "a@[192.0.2.1]"),
    *("0", "-1", "007", "9" * 19, "9" * 400, "1e9", "NaN", "٣", "0x10", "true", "null", "%s", "{}"),
    *("{account}", "{", "}}", "\\", "/", "/(", "*", "[", "'", '"', ";", ":", "#", "\x1b[2J"),
    *("::1", "::ffff:192.0.2.1", "192.0.2.1", "192.0.2.0/24", "fe80::1%eth0", "1.2.3", "::/0"),
    *("RCPT", "END-OF-MESSAGE", "DATA", "VRFY", "rcpt", "smtpd_access_policy", "3.11.6", "3.7"),
    *("a" * 255, "a" * 5000, "é" * 300, "a@" + "b." * 200, "+" * 100, "alice+x@sender.example"),
)
"""What has led programs astray."""

VALUES: Final = (None, True, False, [], {}, [[]], {"": ""}, [None] * 50, *NUMBERS, *TEXTS)


class Mutator:
    """Mutations drawn by *chance*; *parts* are bytes to put somewhere else."""

    def __init__(self, chance: random.Random, parts: Sequence[bytes]) -> None:
        self._chance = chance
        self._parts = parts
        self._steps: tuple[Callable[[bytearray], None], ...] = (
            *(self._flip, self._delete, self._insert, self._insert),
            *(self._repeat, self._move, self._cut, self._overwrite),
        )

    def raw(self, data: bytes) -> bytes:
        """Return *data* with a few mutations."""
        changed = bytearray(data)
        for _ in range(self._chance.choice((1, 1, 1, 2, 2, 3, 5))):
            self._chance.choice(self._steps)(changed)
        return bytes(changed)

    def json(self, value: Any) -> Any:
        """Return the JSON *value* with one place of it changed."""
        chance = self._chance
        if not isinstance(value, dict | list) or not value or chance.random() < 0.1:
            return self._other(value)
        if isinstance(value, list):
            at = chance.randrange(len(value))
            changed = [*value[:at], self.json(value[at]), *value[at + 1 :]]
            return changed if chance.random() < 0.8 else value + value[at:]
        name = chance.choice(list(value))
        how = chance.random()
        if how < 0.8:
            return {**value, name: self.json(value[name])}
        without = {other: of for other, of in value.items() if other != name}
        return without if how < 0.9 else {**without, chance.choice(TEXTS): value[name]}

    def _other(self, value: Any) -> Any:
        chance = self._chance
        how = chance.random()
        if isinstance(value, str) and how < 0.4:
            at = chance.randint(0, len(value))
            return value[:at] + chance.choice(TEXTS) + value[at:]
        if isinstance(value, int | float) and how < 0.4:
            return chance.choice((value + 1, -value, value * 1000, value + 0.5))
        return chance.choice(VALUES)

    def _part(self) -> bytes:
        if self._chance.random() < 0.5:
            return self._chance.choice(self._parts)
        return self._chance.choice(TEXTS).encode("utf-8", "surrogatepass")

    def _place(self, data: bytearray) -> tuple[int, int]:
        """Return the beginning and the end of some of *data*; mostly little."""
        begin = self._chance.randint(0, len(data))
        length = self._chance.choice((1, 1, 2, 4, 16, 64, len(data)))
        return begin, min(len(data), begin + length)

    def _flip(self, data: bytearray) -> None:
        if data:
            data[self._chance.randrange(len(data))] ^= 1 << self._chance.randrange(8)

    def _delete(self, data: bytearray) -> None:
        begin, end = self._place(data)
        del data[begin:end]

    def _insert(self, data: bytearray) -> None:
        begin, _ = self._place(data)
        data[begin:begin] = self._part()

    def _repeat(self, data: bytearray) -> None:
        begin, end = self._place(data)
        data[end:end] = data[begin:end] * self._chance.choice((1, 2, 100))

    def _move(self, data: bytearray) -> None:
        begin, end = self._place(data)
        moved = bytes(data[begin:end])
        del data[begin:end]
        at = self._chance.randint(0, len(data))
        data[at:at] = moved

    def _cut(self, data: bytearray) -> None:
        if self._chance.random() < 0.2:
            begin, _ = self._place(data)
            del data[begin:]

    def _overwrite(self, data: bytearray) -> None:
        begin, end = self._place(data)
        data[begin:end] = self._part()
