"""What experiments ask, in words: the parts of a question that several methods share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from patchwright.axes import Direction, Per
from patchwright.places import SITE_TABLE, Site, parse_place
from patchwright.prompts.pair import Pair
from patchwright.prompts.tokens import quoted_answers

MOST_ANSWERS = 2
"""Answers that a question quotes."""

MOST_PLACES = 3
"""Places that a question names."""

_LAYERS = {"attention": "attention layers", "mlp": "MLPs"}
"""Layers of which one half alone is changed."""


@dataclass(frozen=True)
class Contest:
    """The answer that a question is about, and its rival, each '' where there is none to name.

    `over` says of several pairs how many they are; their answers are not named.
    """

    answer: str
    rival: str
    over: str = ""

    def parts_question(self, what: str, direction: Direction, how: str = "") -> str:
        """Which parts bring the answer back, or which ones it needs."""
        if direction == "noise":
            return f"Which {what} does {self.answer} need{self.rival_after('to stay ahead of')}{how}{self.over}?"
        return f"Which {what} bring back {self.answer}{self.rival_after('instead of')}{how}{self.over}?"

    def rival_after(self, words: str) -> str:
        """The rival behind `words` that lead to it."""
        return f" {words} {self.rival}" if self.rival else ""


def contest(pairs: Sequence[Pair]) -> Contest:
    """What is between the two prompts of a pair; of several pairs on the whole."""
    if len(pairs) != 1:
        return Contest("the answer", "", f", on average over {len(pairs)} pairs")
    return contest_of(pairs[0].answers, pairs[0].wrongs, "the answer of A")


def contest_of(
    answers: Sequence[object], wrongs: Sequence[object], unnamed: str = "the answer"
) -> Contest:
    """What is between these answers and their rivals; `unnamed` is an answer that has no text."""
    answer, rival = (quoted_answers(some, MOST_ANSWERS) for some in (answers, wrongs))
    return Contest(answer or unnamed, rival)


def parts_text(site: Site, per: Per) -> str:
    """What a sweep goes through: 'heads', 'MLPs, at which tokens,'."""
    layers = _LAYERS.get(SITE_TABLE[site].half or "", "layers")
    names: dict[Per, str] = {
        "position": f"{layers}, at which tokens,",
        "head": "heads",
        "head_position": "heads, at which tokens,",
        "layer": layers,
        "neuron": "neurons",
    }
    return names[per]


def places_text(places: Sequence[str]) -> str:
    """Places as a question names them: 'head 3 of layer 2 and the logits'."""
    named = [_place_text(one) for one in places[:MOST_PLACES]]
    if len(places) > MOST_PLACES:
        named.append(f"{len(places) - MOST_PLACES} more")
    *others, last = named
    return f"{', '.join(others)} and {last}" if others else last


def _place_text(text: str) -> str:
    if text == "logits":
        return "the logits"
    place = parse_place(text)
    label = SITE_TABLE[place.site].label
    layer = f"layer {place.layer}"
    words = label if place.layer is None else f"the {label.replace('the layer', layer)}"
    if place.head is not None:
        what = "" if place.site == "z" else f"the {label} of "
        words = f"{what}head {place.head} of {layer}"
    elif place.neuron is not None:
        words = f"neuron {place.neuron} of {layer}"
    elif place.layer is not None and layer not in words:
        words += f" of {layer}"
    if place.position is None:
        return words
    return words + (" at the last token" if place.position == -1 else f" at token {place.position}")
