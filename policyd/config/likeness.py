"""What makes messages similar, from the section ``likeness``."""

from policyd.aup.policy import Likeness, LikenessBy
from policyd.config import likeness_grammar as grammar
from policyd.config.lists import NamedFiles
from policyd.config.problem import Problems
from policyd.config.tables import Record


def build_likeness(record: Record, files: NamedFiles, problems: Problems) -> Likeness:
    """Return what *record* says; tell *problems* which of its keys mean nothing."""
    by, tolerance = record[grammar.BY], record[grammar.TOLERANCE]
    if by is not LikenessBy.CONTENT and not record.flawed:
        for key in (grammar.FALLBACK, grammar.BOILERPLATE, grammar.SUBJECTS):
            if record.has(key):
                message = f"without by: content {key.name} means nothing"
                problems.error(record.place(key), message, f"delete {key.name}, or by: content")
    file = record.get(grammar.BOILERPLATE)
    source = files.source(file) if file else None
    return Likeness(
        by,
        tolerance.value,
        tolerance.percent,
        fallback=LikenessBy(record[grammar.FALLBACK].value),
        boilerplate="\n".join(source.lines) if source else "",
        subjects=record[grammar.SUBJECTS],
    )
