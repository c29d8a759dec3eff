"""PyYAML's syntax errors in an administrator's words, each with the likely fix."""

import re
from typing import Final, NamedTuple

import yaml

from policyd.config.problem import Place, RuleError, Source


class _Saying(NamedTuple):
    """What to say of an error whose problem, and whose context, match the patterns.

    … stands for the first group of *problem*. *at_context* puts the caret where the construct
    begins instead of where it broke.
    """

    problem: str
    context: str
    message: str
    hint: str
    at_context: bool = False


_QUOTES: Final = "put text that begins with {, [, *, &, !, %, @ or ` in quotes"

_SAYINGS: Final = (
    _Saying(r"'\\t'", "", "a tab", "write spaces: YAML does not allow tabs here"),
    _Saying(r"found character '(.*)' that cannot", "", "a value cannot begin with …", _QUOTES),
    _Saying(
        "", "scanning an (alias|anchor)", "* and & begin a reference", _QUOTES, at_context=True
    ),
    _Saying("", "tag|handle", "a tag that cannot be read", _QUOTES, at_context=True),
    _Saying(
        "mapping values are not allowed",
        "",
        "a colon makes a key of the text before it, and no key belongs here",
        "put text with a colon in quotes, or indent the line like the one above",
    ),
    _Saying(
        "sequence entries are not allowed",
        "",
        "a list entry (- ) does not belong on this line",
        "begin the list on a line of its own, or put the text in quotes",
    ),
    _Saying(
        "unexpected end of stream",
        "quoted scalar",
        "the text that begins here has no closing quote",
        "close the quote",
        at_context=True,
    ),
    _Saying(
        "unexpected document separator",
        "quoted scalar",
        "the text that begins here has no closing quote",
        "close the quote",
        at_context=True,
    ),
    _Saying(
        r"unknown escape character|escape sequence",
        "double-quoted",
        "between double quotes a backslash begins an escape",
        "use single quotes, or write two backslashes",
    ),
    _Saying(
        r"expected ',' or '(.)'",
        "flow",
        "a comma or … is missing before this",
        "close the bracket, or put text with , [ ] { } or a colon in quotes",
    ),
    _Saying(
        "could not find expected ':'",
        "",
        "a line that is neither a key with a value nor a list entry",
        "write a colon and a space after the key",
        at_context=True,
    ),
    _Saying(
        "expected <block end>, but found ':'",
        "",
        "a value without a key",
        "write the key before the colon",
    ),
    _Saying(
        "expected <block end>, but found '(}|])'",
        "",
        "a bracket too many",
        "delete it, or put the text in quotes",
    ),
    _Saying(
        "expected <block end>, but found '-'",
        "block mapping",
        "a list entry among keys",
        "indent it below its key",
    ),
    _Saying(
        "expected <block end>, but found '<block",
        "",
        "the indentation fits none of the lines above",
        "indent the line like the others of its list or mapping",
    ),
    _Saying(
        "expected <block end>, but found '<scalar>'",
        "",
        "text after a value that is already complete",
        "put the whole text in one pair of quotes",
    ),
    _Saying(
        "expected <block end>",
        "block collection",
        "a key among list entries",
        "indent it like the keys of its entry",
    ),
    _Saying(
        "expected '<document start>'",
        "",
        "the line is indented less than the first one",
        "begin all top-level keys in the first column",
    ),
    _Saying(
        "chomping or indentation|comment or a line break",
        "block scalar",
        "text after | or >",
        "begin the text on the next line, or put it in quotes",
    ),
    _Saying("YAML directive|incompatible", "", "a %YAML line", "delete it"),
)


def explained(error: yaml.MarkedYAMLError, source: Source) -> RuleError:
    """Return what PyYAML's *error* in *source* means to an administrator."""
    problem, context = error.problem or "", error.context or ""
    opening, broken = error.context_mark, error.problem_mark
    if opening and broken and "flow" in context and broken.line > opening.line:
        message = (
            f"the bracket that opens here is not closed, and line {broken.line + 1} does not fit"
        )
        return RuleError(_place(opening, source), message, "close it")
    for saying in _SAYINGS:
        found = re.search(saying.problem, problem)
        if found and re.search(saying.context, context):
            mark = error.context_mark if saying.at_context else error.problem_mark
            mark = mark or error.problem_mark
            what = found.group(1) if found.groups() else ""
            return RuleError(_place(mark, source), saying.message.replace("…", what), saying.hint)
    place = _place(error.problem_mark or error.context_mark, source)
    return RuleError(place, f"no YAML: {problem}", "check the quotes, brackets and indentation")


def _place(mark: yaml.Mark | None, source: Source) -> Place:
    return Place(source) if mark is None else Place(source, mark.line + 1, mark.column + 1)
