"""The rule file and the files that it names, read from the disk: the only place that opens any."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from policyd.aup.policy import Policy
from policyd.clock import WallTime
from policyd.config import nodes
from policyd.config.kinds import Placed
from policyd.config.lists import entries
from policyd.config.merge import merged
from policyd.config.names import Flaw
from policyd.config.nodes import compose, decode
from policyd.config.problem import Place, Problem, Problems, RuleError, Source, TooManyError
from policyd.config.rules import build

_LARGEST_RULES: Final = 1 << 20
_LARGEST_LIST: Final = 64 << 20
"""Bytes. What is larger is the wrong file."""


Stamp = tuple[int, int, int] | None
"""What tells a changed file from an unchanged one; None for one that is not there."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """What came of loading: the *policy*, or None when any of the *problems* is an error.

    *watched* are the files that the rules name, each with its stamp from before it was read:
    when one changes, the rules say something else.
    """

    policy: Policy | None
    problems: tuple[Problem, ...]
    watched: Mapping[Path, Stamp]


def stamp(path: Path) -> Stamp:
    """Return the present stamp of the file at *path*."""
    try:
        status = path.stat()
    except (OSError, ValueError):
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns


def load(path: Path, now: WallTime | None = None) -> Loaded:
    """Return the policy of the rule file *path*, or of the ``*.yaml`` in the directory *path*.

    Never raises for what a file contains, or for one that cannot be read. With *now*, entries
    that are over are pointed out.
    """
    problems = Problems()
    named = _NamedFiles(path if _is_directory(path) else path.parent, problems)
    policy = None
    try:
        files = _rule_files(path, problems)
        trees = [tree for file in files if (tree := _tree(file, problems))]
        if trees:
            complete = len(trees) == len(files)
            policy = build(merged(trees, problems), named, problems, now=now, complete=complete)
    except TooManyError:
        pass  # the problems say so
    return Loaded(policy, problems.in_order(), named.stamps)


def _is_directory(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:
        return False  # opening it says why


def _rule_files(path: Path, problems: Problems) -> list[Path]:
    if not _is_directory(path):
        return [path]
    place = Place(Source(str(path)))
    try:
        found = sorted(file for file in path.iterdir() if _is_rule_file(file.name))
    except OSError as error:
        problems.error(place, f"cannot be read: {error.strerror}", "check its permissions")
        return []
    if not found:
        message = "there is no rule file in this directory"
        problems.error(place, message, "the names of rule files end in .yaml")
    return found


def _is_rule_file(name: str) -> bool:
    # an editor's lock file is hidden, and no rule file
    return name.endswith(".yaml") and not name.startswith(".")


def _tree(file: Path, problems: Problems) -> nodes.Mapping | None:
    try:
        place = Place(Source(str(file)))
        return compose(decode(str(file), _read(file, place, _LARGEST_RULES)), problems)
    except RuleError as error:
        problems.add(error)
    return None


def _read(file: Path, named: Place, largest: int) -> bytes:
    """Return what is in *file*, which is *named* at a place in the rules.

    Raise RuleError when it cannot be read.
    """
    name = f"{file} " if named.line else ""
    try:
        if file.exists() and not file.is_file():
            # a pipe would hold up the whole daemon
            raise RuleError(named, f"{name}is no regular file", "name a file")
        with file.open("rb") as opened:
            data = opened.read(largest + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        hint = "check the name" if isinstance(error, FileNotFoundError) else "check its permissions"
        raise RuleError(named, f"{name}cannot be read: {reason}", hint) from None
    if len(data) > largest:
        hint = "keep long lists in files of their own: domain_files, accounts_file"
        if named.line:
            hint = "is this the right file?"
        raise RuleError(named, f"{name}is larger than {largest >> 20} MiB", hint)
    return data


class _NamedFiles:
    """Reads the files that the rules name, relative to the directory of the rules."""

    def __init__(self, directory: Path, problems: Problems) -> None:
        self._directory = directory
        self._problems = problems
        self.stamps: dict[Path, Stamp] = {}

    def entries(self, file: Placed[str], flaw: Callable[[str], Flaw | None]) -> tuple[str, ...]:
        """Return the entries of the list *file*."""
        source = self.source(file)
        return entries(source, flaw, self._problems) if source else ()

    def source(self, file: Placed[str]) -> Source | None:
        """Return the text of *file*, or None when it cannot be read."""
        path = self._directory / file.value
        self.stamps.setdefault(path, stamp(path))
        try:
            return decode(str(path), _read(path, file.place, _LARGEST_LIST))
        except RuleError as error:
            self._problems.add(error)
        return None
