"""The keys of the section ``likeness``, each declared once."""

from enum import Enum

from policyd.aup.policy import LikenessBy
from policyd.config.kinds import WithPlace
from policyd.config.quantities import ToleranceKind
from policyd.config.tables import Key, Table
from policyd.config.words import Boolean, OneOf, Text


class Fallback(Enum):
    """What tells messages apart whose content is not known."""

    SIZE = "size"
    ANY = "any"


BY = Key(
    "by",
    OneOf("a kind of likeness", LikenessBy),
    "What makes two messages similar: size (within the tolerance), any (all are), or content (what "
    "they say, which a milter has to be shown).",
    default="size",
)
TOLERANCE = Key(
    "tolerance",
    ToleranceKind(),
    "How far the sizes of similar messages may be apart: bytes, or a percentage such as 2%.",
    default=64,
)
FALLBACK = Key(
    "fallback",
    OneOf(
        "a kind of likeness without content", Fallback, {"content": "it is for mail without one"}
    ),
    "With by: content, what makes messages similar whose content is not shown, or is encrypted: "
    "size, or any.",
    default="size",
)
BOILERPLATE = Key(
    "boilerplate",
    WithPlace(Text("a file name", "disclaimer.txt")),
    "With by: content, a file with text that says nothing of a message, such as a disclaimer. It "
    "is read again when it changes.",
)
SUBJECTS = Key(
    "subjects",
    Boolean(),
    "With by: content, whether the subject of a refused message is kept with its incident, logged "
    "and told in the notice.",
    default=True,
)
LIKENESS_TABLE = Table(
    "what makes messages similar", BY, TOLERANCE, FALLBACK, BOILERPLATE, SUBJECTS
)
