"""The fields of methods that pages have controls for: default and choices are the method's own.

All pages share one state, so a control has a name of its own where two pages mean different
things by one. A control whose value is written otherwise than its field has a `Spelling`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import NoneType
from typing import Annotated, Any, Literal, get_args, get_origin

from patchwright.experiment.base import Experiment, OnPairs
from patchwright.experiment.declaration import PlaceNames
from patchwright.methods.ablate import Ablate
from patchwright.methods.circuit import EdgeAttribution
from patchwright.methods.diff import Difference
from patchwright.methods.patch import Patch
from patchwright.methods.paths import PathPatch
from patchwright.methods.trace import Trace
from patchwright.places import check_site, pers_of

NOT_ON_FORMS = frozenset({*OnPairs.model_fields, "method", "layers", "positions", "heads"}) - {
    "metric"
}
"""Fields that no form has: the bar at the top, the prompts, or no control at all."""


@dataclass(frozen=True)
class Spelling:
    """How a control writes a field's value, and what may be chosen."""

    control: Callable[[Any], Any]
    field: Callable[[Any], Any]
    choices: tuple[str, ...] = ()


def _spelling_of(values: Mapping[str, Any]) -> Spelling:
    """A choice among named values."""
    names = {value: name for name, value in values.items()}
    return Spelling(names.__getitem__, values.__getitem__, tuple(values))


EDGE_ESTIMATES = {"integrated": 5, "gradient": None}
"""How edges are scored: over so many runs between the prompts, or at the clean run alone."""

NOTHING = "nothing"
"""What a control says of a choice that may be left out."""

OVERS = ("position", "all")
"""What a mean is taken over: the reference prompts at each position, or all their positions."""

SPELLINGS: dict[str, Spelling] = {
    "over": _spelling_of(dict(zip(OVERS, (True, False), strict=True))),
    "edge_estimate": _spelling_of(EDGE_ESTIMATES),
    "subject": Spelling(list, lambda chosen: tuple(sorted(chosen))),
}


@dataclass(frozen=True)
class Form:
    """The fields of a method that a page asks for: all but those `without` a control."""

    kind: type[Experiment]
    renamed: Mapping[str, str] = field(default_factory=dict[str, str])
    without: frozenset[str] = frozenset()

    @property
    def names(self) -> dict[str, str]:
        """The control of each field."""
        left_out = NOT_ON_FORMS | self.without
        return {
            name: self.renamed.get(name, name)
            for name in self.kind.model_fields
            if name not in left_out
        }

    @property
    def usual(self) -> dict[str, Any]:
        """What each control starts from: nothing of a field that must be given."""
        found: dict[str, Any] = {}
        for name, control in self.names.items():
            info = self.kind.model_fields[name]
            value = () if info.is_required() else info.default
            if name == "per":
                value = pers_of(self.kind.model_fields["site"].default)[0]
            found[control] = self.control_value(name, value)
        return found

    @property
    def place_lists(self) -> list[str]:
        """The controls that hold a list of places."""
        _, checked = get_args(PlaceNames)
        fields = self.kind.model_fields
        return [to for name, to in self.names.items() if checked in fields[name].metadata]

    @property
    def choices(self) -> dict[str, tuple[str, ...]]:
        """What may be chosen, of the controls that are a choice."""
        found: dict[str, tuple[str, ...]] = {}
        for name, control in self.names.items():
            annotation = self.kind.model_fields[name].annotation
            options = _options(annotation)
            if control in SPELLINGS:
                options = SPELLINGS[control].choices
            elif options and NoneType in get_args(annotation):
                options = (NOTHING, *options)
            if options:
                found[control] = options
        return found

    def fields(self, state: Mapping[Any, Any]) -> dict[str, Any]:
        """The fields that the controls describe; a `per` that the site does not have is as usual."""
        found = {
            name: self._field_value(name, state[control]) for name, control in self.names.items()
        }
        if "per" in found:
            pers = pers_of(check_site(found["site"]))
            found["per"] = found["per"] if found["per"] in pers else pers[0]
            neurons = found["per"] == "neuron"
            found["layers"] = (int(state["neuron_layer"]),) if neurons else None
        return found

    def controls(self, experiment: Experiment) -> dict[str, Any]:
        """What the controls show of an experiment, as far as it has their fields."""
        given = type(experiment).model_fields
        found = {
            control: self.control_value(name, getattr(experiment, name))
            for name, control in self.names.items()
            if name in given
        }
        layers = getattr(experiment, "layers", None)
        return found if layers is None else {**found, "neuron_layer": layers[0]}

    def _field_value(self, name: str, value: Any) -> Any:
        control = self.names[name]
        if control in SPELLINGS:
            return SPELLINGS[control].field(value)
        info = self.kind.model_fields[name]
        kind: Any = info.annotation
        if kind in (int, float):
            return kind(value)
        if isinstance(value, list):
            return tuple(map(str, value)) or info.default
        return None if value == NOTHING and NoneType in get_args(kind) else value

    def control_value(self, name: str, value: Any) -> Any:
        """What a control shows of a field's value; a list is empty where it is left as it is."""
        control = self.names[name]
        if control in SPELLINGS:
            return SPELLINGS[control].control(value)
        info = self.kind.model_fields[name]
        if isinstance(value, tuple) or _is_list(info.annotation):
            return [] if value == info.default else list(value)
        return NOTHING if value is None else value


def _is_list(annotation: Any) -> bool:
    """Whether a field holds several values, or none."""
    return any(get_origin(one) is tuple for one in (annotation, *get_args(annotation)))


def _options(annotation: Any) -> tuple[str, ...]:
    """The values of a field that is one of some words."""
    while get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    if get_origin(annotation) is Literal:
        return tuple(map(str, get_args(annotation)))
    parts = [one for one in get_args(annotation) if one is not NoneType]
    return _options(parts[0]) if len(parts) == 1 else ()


FORMS = {
    "patch": Form(Patch, without=frozenset({"order", "max_exact", "roles"})),
    "activations": Form(Difference, {"site": "seen_site"}, frozenset({"metric", "per"})),
    "trace": Form(
        Trace,
        {"metric": "trace_metric"},
        frozenset({"prompt", "answer", "wrong", "occurrence", "site", "direction"}),
    ),
    "ablation": Form(
        Ablate,
        {
            "site": "ablated_site",
            "per": "ablated_per",
            "by_position": "over",
            "seed": "draw_seed",
        },
        frozenset({"direction", "prompts"}),
    ),
    "paths": Form(PathPatch, {"site": "sender", "per": "sender_per"}),
    "circuit": Form(EdgeAttribution, {"steps": "edge_estimate"}, frozenset({"exact"})),
    "many": Form(
        Patch,
        {"site": "set_site", "per": "set_per", "roles": "set_roles"},
        frozenset({"order", "max_exact"}),
    ),
}
"""What each page asks of its method."""


def usual() -> dict[str, Any]:
    """What the controls of all forms start from; where pages share one, the first page's."""
    found: dict[str, Any] = {}
    for form in FORMS.values():
        found = form.usual | found
    return found


def choices() -> dict[str, tuple[str, ...]]:
    """What may be chosen in the controls of all forms."""
    return {name: options for form in FORMS.values() for name, options in form.choices.items()}


def place_lists() -> list[str]:
    """The controls of all forms that hold a list of places, and the set that every page has."""
    return ["places", *(name for form in FORMS.values() for name in form.place_lists)]
