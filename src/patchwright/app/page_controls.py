"""Every control of the page: what it starts from, what it may be, and how an address writes it.

What comes from an address is checked before it is used: anybody can write one.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, get_args

from patchwright.algorithms.difference import ARRAYS
from patchwright.algorithms.metrics import LENS_METRICS
from patchwright.algorithms.paths import SENDERS
from patchwright.app.page_fields import choices, place_lists, usual
from patchwright.errors import InputError, PatchwrightError
from patchwright.lessons import LESSON_MODELS
from patchwright.methods.lens import Part
from patchwright.places import parse_place
from patchwright.prompts.builtin_templates import tasks

HASH_DIGITS = 12
"""How many digits of a stored run's hash stand in an address."""

MOST_EDGES = 4096
"""The most edges that a circuit may have on the page."""

MOST_PAIRS = 1000
"""The most pairs that a set may have on the page."""

_LIST_SEPARATOR = "~"
"""Between the entries of a list; no place and no number contains it."""


@dataclass(frozen=True)
class Control:
    """What one control starts from, and what it may be: one of its `choices`, where it has some.

    A number lies within `bounds`, a text has at most `most` characters: enough for the tokens that
    a prompt may have. `entry` reads a text, or an entry of a list, from an address; it raises
    InputError with a sentence, or ValueError for what is no number.
    """

    usual: Any
    choices: tuple[str, ...] = ()
    bounds: tuple[float, float] = (0, 1_000_000)
    most: int = 2000
    entry: Callable[[str], Any] = str

    def read(self, name: str, text: str) -> Any:
        """Read the value of the control `name` from an address. Raises InputError for a value that it may not have."""
        if self.choices and text not in self.choices:
            raise InputError(
                f"The address has {name} '{text[:40]}': it may be {', '.join(self.choices)}."
            )
        if isinstance(self.usual, bool):
            return text == "1"
        try:
            if isinstance(self.usual, list):
                return [self.entry(part) for part in text.split(_LIST_SEPARATOR)] if text else []
            if isinstance(self.usual, int | float):
                return self._within(name, text)
            return self.entry(text) if text else text
        except PatchwrightError:
            raise
        except ValueError:
            raise InputError(f"The address has {name} '{text[:40]}', which is no number.") from None

    def _within(self, name: str, text: str) -> float:
        number = type(self.usual)(text)
        least, most = self.bounds
        if not least <= number <= most:
            raise InputError(
                f"The address has {name} {text[:40]}: it may be {least:g} to {most:,.7g}."
            )
        return number

    def write(self, value: Any) -> str:
        """Write a value for an address; entries of a list of places that name no place are left out."""
        if isinstance(value, list) and self.entry is _read_place:
            return _LIST_SEPARATOR.join(str(parse_place(one)) for one in value if _is_place(one))
        if isinstance(value, list):
            return _LIST_SEPARATOR.join(map(str, value))
        if isinstance(value, bool):
            return str(int(value))
        return repr(value).removesuffix(".0") if isinstance(value, float) else str(value)


def check_run_digits(text: str) -> str:
    """Check the digits that name a stored run. Raises InputError if they are not the beginning of a hash."""
    if not re.fullmatch(f"[0-9a-f]{{{HASH_DIGITS},64}}", text):
        raise InputError(
            f"The address has run '{text[:40]}': a run is named by at least {HASH_DIGITS} "
            "digits out of 0-9 and a-f."
        )
    return text


def has_role(place: str) -> bool:
    """Whether a place stands at a role of its prompt, as in `L3.resid_pre@last`: only sets have such."""
    return "@" in place and not place.rpartition("@")[2].lstrip("-").isdigit()


def _read_place(text: str) -> str:
    if len(text) > 60:
        raise InputError(f"The address has '{text[:60]}…', which is too long for a place.")
    if has_role(text):
        base, _, role = text.rpartition("@")
        return f"{parse_place(base)}@{role}"
    return str(parse_place(text))


def _is_place(text: str) -> bool:
    try:
        parse_place(text)
    except PatchwrightError:
        return False
    return True


def _read_role(text: str) -> str:
    return text[:60]


def _read_position(text: str) -> int:
    if not 0 <= (position := int(text)) <= 1_000_000:
        raise ValueError(text)
    return position


_SENDER = r"embed|L[0-9]{1,4}H[0-9]{1,4}|L[0-9]{1,4}\.mlp"
_RECEIVER = r"L[0-9]{1,4}H[0-9]{1,4}\.[qkv]|L[0-9]{1,4}\.mlp|logits"
_GRAPH_PART = re.compile(rf"{_SENDER}|logits|(?:{_SENDER})>(?:{_RECEIVER})")
"""Nodes of a circuit, and edges between them."""


def _read_graph_part(text: str) -> str:
    if not _GRAPH_PART.fullmatch(text):
        raise InputError(
            f"The address has edge_chosen '{text[:40]}': it may be a node, such as embed, L3H1, L2.mlp "
            "or logits, or an edge, such as L2.mlp>L3H1.q."
        )
    return text


_SWITCH = ("0", "1")
_CHOICES = choices()
_BOUNDS: dict[str, tuple[float, float]] = {
    "noise": (0.0, 20.0),
    "samples": (1, 100),
    # The model bounds it too.
    "window": (1, 1000),
}
_ENTRIES: dict[str, Callable[[str], Any]] = {
    **dict.fromkeys(place_lists(), _read_place),
    "subject": _read_position,
    "set_roles": _read_role,
}

CONTROLS: dict[str, Control] = {
    **{
        name: Control(
            value,
            _CHOICES.get(name, ()),
            _BOUNDS.get(name, Control.bounds),
            entry=_ENTRIES.get(name, str),
        )
        for name, value in usual().items()
    },
    # The bar at the top, and the pair.
    "model": Control("demo"),
    "model_name": Control("", most=300),
    "clean": Control(""),
    "corrupt": Control(""),
    "answer": Control(""),
    "wrong": Control(""),
    "align": Control("exact", ("exact", "edges")),
    "chat": Control(False, _SWITCH),
    "system": Control(""),
    "bos": Control(True, _SWITCH),
    # The workbench.
    "neuron_layer": Control(0),
    "chosen": Control("", entry=_read_place),
    "pinned": Control("", entry=_read_place),
    "pinned_run": Control("", entry=check_run_digits),
    "note": Control("", most=300),
    "view": Control("", ("", "projector")),
    "threshold": Control(5, bounds=(0, 50)),
    "places": Control([], entry=_read_place),
    # What a tab has besides the fields of its method.
    "measure": Control("relative", ARRAYS),
    "lens_measure": Control("probability", LENS_METRICS),
    "part": Control("head", get_args(Part)),
    "references": Control(""),
    "sender": Control(usual()["sender"], SENDERS),
    "edges": Control(30, bounds=(1, MOST_EDGES)),
    "edge_estimate": Control("integrated", _CHOICES["edge_estimate"]),
    "edge_chosen": Control("", entry=_read_graph_part),
    "edge_order": Control("connected", ("connected", "strongest")),
    "edge_share": Control(80, bounds=(1, 100)),
    # Learn.
    "lesson": Control(""),
    "reading": Control("demo", tuple(LESSON_MODELS)),
    "step": Control(1, bounds=(1, 1000)),
    "ask": Control("", most=300),
    "explain": Control(""),
    "map": Control("", most=4000),
    # Sets.
    "set_source": Control(
        "template", ("pair", "template", "own", "sentences", "swap", "file", "run")
    ),
    "task": Control("indirect-object", tuple(one.name for one in tasks())),
    "set_count": Control(20, bounds=(2, MOST_PAIRS)),
    "set_seed": Control(0),
    "template_text": Control("When {A} and {B} went to the {PLACE}, {S} gave a {OBJECT} to"),
    "template_slots": Control(
        "A=Mary,Alice,Emma\nB=John,David,Tom\nPLACE=store,park,school\nOBJECT=drink,book,ball\nS={B}"
    ),
    "template_swap": Control("S={A}"),
    "template_answer": Control(" {A}"),
    "template_wrong": Control(" {B}"),
    "sentences": Control(
        "The keys to the cabinet are on the table\nThe dog near the cars is happy", most=40_000
    ),
    "swap_prompt": Control("When Mary and John went to the store, John gave a drink to"),
    "swap_word": Control("Mary"),
    "swap_answer": Control(" Mary"),
    "set_site": Control("z", _CHOICES["set_site"]),
    "set_per": Control("head", _CHOICES["set_per"]),
    # Library.
    "search": Control("", most=200),
    "shelf": Control("runs", ("runs", "examples")),
    "picked": Control([], entry=check_run_digits),
}
"""The controls of all pages, by key."""
