"""The snippets that we ship for main.cf and master.cf, read and fitted into a private Postfix."""

import re

from .daemon import REPOSITORY

SNIPPETS = REPOSITORY / "etc" / "postfix"


def main_snippet(policy_port: int) -> str:
    text = (SNIPPETS / "main.cf.snippet").read_text(encoding="utf-8")
    return replace_once(
        text,
        "\npolicyd_service = inet:127.0.0.1:10040\n",
        f"\npolicyd_service = inet:127.0.0.1:{policy_port}\n",
    )


def master_snippet() -> str:
    return (SNIPPETS / "master.cf.snippet").read_text(encoding="utf-8")


def alternative(name: str) -> str:
    """Return the value that the snippet for main.cf offers for *name* behind a comment sign."""
    text = (SNIPPETS / "main.cf.snippet").read_text(encoding="utf-8")
    (value,) = re.findall(rf"^#{name} = (.*)$", text, re.MULTILINE)
    return value


def ask_with(option: str) -> str:
    """Return how the snippet asks, with an option added."""
    text = (SNIPPETS / "main.cf.snippet").read_text(encoding="utf-8")
    (value,) = re.findall(r"^policyd_ask = (.*) }$", text, re.MULTILINE)
    return f"{value}, {option} }}"


def entry(snippet: str, service: str) -> str:
    """Return the lines of one service."""
    (lines,) = re.findall(
        rf"^({re.escape(service)} inet .*\n(?:[ \t]+.*\n)*)", snippet, re.MULTILINE
    )
    return lines


def at(snippet: str, service: str, port: int, *options: str) -> str:
    """Return *snippet* with *service* on a port of this run, and with further *options*."""
    before = entry(snippet, service)
    after = replace_once(before, f"{service} inet ", f"127.0.0.1:{port} inet ")
    return replace_once(
        snippet, before, after + "".join(f"    -o {{ {text} }}\n" for text in options)
    )


def replace_once(text: str, old: str, new: str) -> str:
    if text.count(old) != 1:
        message = f"expected once: {old}"
        raise ValueError(message)
    return text.replace(old, new)
