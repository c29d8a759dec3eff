"""Texts that the loader accepts, expanded with anything: an answer that Postfix understands."""

import re
from typing import Final

from hypothesis import given
from hypothesis import strategies as st

from policyd.aup.wording import PLACEHOLDERS, Wording, for_deferral, for_rejection, mistakes
from policyd.protocol.reply import ROOM, Verdict, reply
from policyd.protocol.request import Stage

from .form import CHECKS, seeds
from .house import GRAMMAR
from .mutation import TEXTS

TEMPLATES: Final = [seed.decode("ascii").removesuffix("\n") for seed in seeds("texts")]
NAMES: Final = sorted(PLACEHOLDERS)

PIECES: Final = st.one_of(
    st.sampled_from([f"{{{name}}}" for name in NAMES]),
    st.sampled_from(["; ", ";", "{{", "}}", "retry later", "Match ", "{}", "{account!r}", "{x.y}"]),
    st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=30),
)
WORDS: Final = st.one_of(st.sampled_from(TEMPLATES), st.lists(PIECES, max_size=6).map("".join))
VALUES: Final = st.dictionaries(
    st.sampled_from(NAMES), st.one_of(st.sampled_from(TEXTS), st.text(st.characters()))
)
ACTIONS: Final = st.sampled_from(
    [("REJECT", "5.7.1"), ("DEFER", "4.7.1"), ("HOLD", ""), ("WARN", ""), ("452", ""), ("521", "")]
)


@CHECKS
@given(WORDS, VALUES, ACTIONS, st.sampled_from(list(ROOM)))
def test_what_may_be_written_is_answered_by_the_grammar(
    words: str, values: dict[str, str], action: tuple[str, str], stage: Stage
) -> None:
    verb, status = action
    permanent = verb in {"REJECT", "521"}
    if any(mistakes(words, ROOM[stage], permanent=permanent)):
        return
    wording: Wording = for_rejection(words) if permanent else for_deferral(words)
    text = wording.expand(values, ROOM[stage])
    assert re.fullmatch("[ -~]+", text)
    answer = reply(Verdict(verb, status, text), stage)
    assert GRAMMAR.fullmatch(answer)
    assert answer.startswith(f"action={verb} ".encode())
    assert len(answer) <= len("action=REJECT 5.255.255 \n\n") + ROOM[stage]


@CHECKS
@given(st.one_of(WORDS, st.text(st.characters())))
def test_of_any_text_it_is_said_what_is_wrong_with_it(words: str) -> None:
    for stage in ROOM:
        for mistake in mistakes(words, ROOM[stage], permanent=True):
            assert mistake
