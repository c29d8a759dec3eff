"""Bytes to text, by the charset that a message names.

The name is the sender's, and not all codecs of Python are fit for strangers: some take a time that
grows with the square of the text. So only those that are listed here are asked.
"""

import codecs
from typing import Final

_FIT: Final = frozenset(
    """
    utf-8 utf-16 utf-16-le utf-16-be ascii cp437 cp850 cp852 cp866 koi8-r koi8-u mac-roman
    iso8859-1 iso8859-2 iso8859-3 iso8859-4 iso8859-5 iso8859-6 iso8859-7 iso8859-8 iso8859-9
    iso8859-10 iso8859-11 iso8859-13 iso8859-14 iso8859-15 iso8859-16 tis-620
    cp874 cp1250 cp1251 cp1252 cp1253 cp1254 cp1255 cp1256 cp1257 cp1258
    gb2312 gbk gb18030 big5 big5hkscs shift_jis cp932 euc_jp iso2022_jp euc_kr cp949 iso2022_kr
    """.split()
)
_LONGEST: Final = 40
"""Characters that the name of a charset has at most."""


def prepare() -> None:
    """Load all codecs, so that no message has to wait for the import of one."""
    for codec in _FIT:
        codecs.lookup(codec)


def decode(data: bytes, charset: str) -> str:
    """Return the text of *data*; what cannot be read is replaced, never refused."""
    codec = _codec(charset)
    if codec in ("", "utf-8", "ascii"):
        try:
            return data.decode()
        except UnicodeDecodeError:
            # what claims nothing, or less than it is, is mostly of the west
            return data.decode("utf-8" if codec == "utf-8" else "cp1252", "replace")
    return data.decode(codec, "replace")


def _codec(charset: str) -> str:
    """Return the name of the codec of *charset*; nothing for one that is not fit or not known."""
    name = charset.strip().lower()
    if not name.isascii() or len(name) > _LONGEST:
        return ""
    name = name.replace("_", "-")
    name = _ALIASES.get(name, name)
    if name not in _NAMES:
        return ""
    return _NAMES[name]


_ALIASES: Final = {
    "latin1": "iso-8859-1",
    "latin-1": "iso-8859-1",
    "x-sjis": "shift-jis",
    "ks-c-5601-1987": "euc-kr",
    "x-gbk": "gbk",
    "utf8": "utf-8",
    "utf16": "utf-16",
    "ms932": "cp932",
    "macintosh": "mac-roman",
}


def _names() -> dict[str, str]:
    """Return the codecs by the names that mail has for them."""
    names = {}
    for fit in _FIT:
        written = fit.replace("_", "-")
        for name in (
            written,
            written.replace("iso8859-", "iso-8859-"),
            written.replace("iso2022", "iso-2022"),
            written.replace("cp12", "windows-12"),
            written.replace("cp", "windows-"),
            written.replace("cp", "ibm"),
        ):
            names[name] = fit
    names["us-ascii"] = "ascii"
    return names


_NAMES: Final = _names()
