"""Write the completions for bash and zsh from the command line itself: run it after a change."""

# ruff: noqa: INP001 - a program to be run by hand

import argparse
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from policyd.cli.main import make_parser

HERE = Path(__file__).parent
BASH, ZSH = "policyd.bash", "_policyd"

_BASH = """\
# Completion for bash; made by generate.py. Goes to /usr/share/bash-completion/completions/policyd

_policyd() {
    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]}
    local command=${COMP_WORDS[1]} options="" words="" files=""
    if ((COMP_CWORD > 2)); then
        case "$command ${COMP_WORDS[2]}" in
%(nested)s
        esac
    fi
    if ((COMP_CWORD == 1)); then
        words="%(commands)s" options="%(general)s"
    elif [[ -z $options ]]; then
        case $command in
%(flat)s
        esac
    fi
    if [[ " $files " == *" $before "* ]]; then
        COMPREPLY=($(compgen -f -- "$word"))
    elif [[ $word == -* ]]; then
        COMPREPLY=($(compgen -W "$options" -- "$word"))
    else
        COMPREPLY=($(compgen -W "$words" -- "$word"))
    fi
}
complete -o default -F _policyd policyd
"""

_ZSH = """\
#compdef policyd
# Completion for zsh; made by generate.py. Goes to a directory of $fpath.

_policyd() {
    local -a commands options parts
    if ((CURRENT == 2)); then
        commands=(
%(described)s
        )
        options=(%(general)s)
        _describe command commands
        compadd -- $options
        return
    fi
    case "$words[2] $words[3]" in
%(nested)s
        *)
            case $words[2] in
%(flat)s
            esac
            ;;
    esac
    if [[ $words[CURRENT] == -* ]]; then
        compadd -- $options
    elif ((CURRENT == 3 && $#parts)); then
        compadd -- $parts
    else
        _files
    fi
}

_policyd "$@"
"""


def rendered() -> Mapping[str, str]:
    """Return the files by their names."""
    parser = make_parser()
    commands = _commands(parser)
    general = " ".join(_options(parser))
    nested = {
        f"{name} {part}": inner
        for name, command in commands.items()
        for part, inner in _commands(command).items()
    }
    parts = {
        "commands": " ".join(commands),
        "general": general,
        "described": "\n".join(f"            '{name}:{text}'" for name, text in _summaries(parser)),
    }
    bash = {
        "nested": "\n".join(f"            {_bash(*one, quoted=True)}" for one in nested.items()),
        "flat": "\n".join(f"            {_bash(*one)}" for one in commands.items()),
    }
    zsh = {
        "nested": "\n".join(f"        {_zsh(*one, quoted=True)}" for one in nested.items()),
        "flat": "\n".join(f"                {_zsh(*one)}" for one in commands.items()),
    }
    return {BASH: _BASH % (parts | bash), ZSH: _ZSH % (parts | zsh)}


def _commands(parser: argparse.ArgumentParser) -> Mapping[str, argparse.ArgumentParser]:
    for action in parser._actions:  # noqa: SLF001 - argparse shows it no other way
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001
            return dict(action.choices)
    return {}


def _summaries(parser: argparse.ArgumentParser) -> Iterator[tuple[str, str]]:
    for action in parser._actions:  # noqa: SLF001
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001
            for choice in action._choices_actions:  # noqa: SLF001
                yield choice.dest, (choice.help or "").replace("'", "'\\''")


def _options(parser: argparse.ArgumentParser) -> list[str]:
    return sorted(name for action in parser._actions for name in action.option_strings)  # noqa: SLF001


def _words(parser: argparse.ArgumentParser) -> list[str]:
    """Return what may stand in the place of the first argument."""
    for action in parser._actions:  # noqa: SLF001
        if action.choices and not action.option_strings:
            return list(action.choices)
    return []


def _of_files(parser: argparse.ArgumentParser) -> list[str]:
    return [
        name
        for action in parser._actions  # noqa: SLF001
        if action.metavar in ("FILE", "DIR", "PATH")
        for name in action.option_strings
    ]


def _bash(name: str, parser: argparse.ArgumentParser, *, quoted: bool = False) -> str:
    told = {"options": _options(parser), "words": _words(parser), "files": _of_files(parser)}
    said = " ".join(f'{key}="{" ".join(value)}"' for key, value in told.items() if value)
    where = f'"{name}"' if quoted else name
    return f"{where}) {said} ;;"


def _zsh(name: str, parser: argparse.ArgumentParser, *, quoted: bool = False) -> str:
    words = f" parts=({' '.join(_words(parser))})" if _words(parser) else ""
    where = f'"{name}"' if quoted else name
    return f"{where}) options=({' '.join(_options(parser))}){words} ;;"


if __name__ == "__main__":
    for file, text in rendered().items():
        HERE.joinpath(file).write_text(text, encoding="utf-8")
        sys.stdout.write(f"{file}\n")
