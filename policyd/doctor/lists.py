"""Lists of restrictions, written anew with policyd in its right place, or without it."""

from collections.abc import Iterable, Sequence

from policyd.doctor.fault import Place
from policyd.doctor.postfix import Listener
from policyd.doctor.restrictions import Ask, ends_the_list, parsed_ask, takes_argument, words

Cure = tuple[Place, tuple[str, ...]]
_WARN = "warn_if_reject"


class Relisted:
    """The list that *listener* has under *where*, in which *asks* are policyd's.

    It is taken from where it is spelled out: ``$name`` alone leads on to *name*.
    """

    def __init__(self, listener: Listener, where: str, asks: Iterable[Ask]) -> None:
        self._listener = listener
        self._services = {ask.service for ask in asks}
        self._name = where
        while (text := listener.plain(self._name)).startswith("$") and text[1:].isidentifier():
            if self._is_ask(text):
                break
            self._name = text[1:]
        self._parts = list(self._read(words(listener.plain(self._name))))
        self._ask = next(filter(self._is_ask, self._parts), "")

    def without(self) -> str:
        """Return the list without policyd."""
        return _joined(self._others())

    def first(self, ask: str = "") -> str:
        """Return the list with policyd, or *ask*, before what ends it."""
        others = self._others()
        ends = (place for place, part in enumerate(others) if ends_the_list(part))
        place = next(ends, len(others))
        return _joined([*others[:place], self._ask or ask, *others[place:]])

    def behind(self, name: str) -> str:
        """Return the list with policyd behind *name*, if that is in it."""
        others = self._others()
        place = others.index(name) + 1 if name in others else 0
        return _joined([*others[:place], self._ask, *others[place:]])

    def once(self) -> str:
        """Return the list with policyd named at the first place only."""
        first = next((n for n, part in enumerate(self._parts) if self._is_ask(part)), 0)
        rest = [part for part in self._parts[first + 1 :] if not self._is_ask(part)]
        return _joined([*self._parts[: first + 1], *rest])

    def cure(self, text: str) -> Cure:
        """Return how to give it *text*; what to look at where policyd stands in some class."""
        if not self._ask:
            return Place.MAIN, (f"# look at {self._name}, and at what it leads to",)
        return setting(self._listener, self._name, text)

    def _others(self) -> list[str]:
        kept: list[str] = []
        for part in self._parts:
            if not self._is_ask(part):
                kept.append(part)
            elif kept and kept[-1].lower() == _WARN:
                kept.pop()
        return kept

    @staticmethod
    def _read(left: Iterable[str]) -> Iterable[str]:
        """Yield the parts: words, with the argument of those that have one."""
        left = iter(left)
        for word in left:
            if takes_argument(word):
                yield f"{word} {next(left, '')}"
            else:
                yield word

    def _is_ask(self, part: str) -> bool:
        return parsed_ask(self._listener.expand(part))[0] in self._services


def option(name: str, value: str = "") -> str:
    """Return the line for master.cf that gives *name* a *value*."""
    return f"-o {{ {name} = {value} }}" if " " in value else f"-o {name}={value}"


def setting(listener: Listener, name: str, value: str) -> Cure:
    """Return how to give *name* another *value* where it has its present one from."""
    if listener.has_own(name):
        return Place.MASTER, (option(name, value),)
    return Place.MAIN, (f"{name} = {value}",)


def _joined(parts: Sequence[str]) -> str:
    return ", ".join(parts)
