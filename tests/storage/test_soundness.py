"""What is taken in from an archive is whole, or refused: nothing raises later."""

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from io import BytesIO, StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

import patchwright as pw
from families import variant
from patchwright.app import restore_state
from patchwright.errors import ArchiveError, PatchwrightError
from patchwright.figures.grid import grids_of, title_of
from patchwright.figures.terminal import renderable
from patchwright.insights import insights
from patchwright.methods import METHODS
from patchwright.storage import serialization
from patchwright.storage.archive import write_archive
from patchwright.storage.serialization import Record, record_of
from patchwright.storage.store import Store
from tiny import pair_of, random_gpt2

MODEL = pw.wrap_model(random_gpt2(), None, name="tiny")
SHARED = replace(
    pw.wrap_model(variant("llama as it is"), None, name="tiny"), stored_dtype="bfloat16"
)
"""A model with fewer key/value heads, computed in another precision than its checkpoint's."""

PAIR = pair_of([1, 2, 3], [1, 4, 3])


def every_kind() -> Iterator[pw.Result]:
    """Results of every method, on one pair and on several, and one that was stopped."""
    two = [PAIR, pair_of([5, 2, 3], [5, 4, 3])]
    yield pw.patch(MODEL, two, metric="rank", direction="noise")
    yield pw.patch(MODEL, two, roles=["last"])
    yield pw.patch(MODEL, PAIR, "z", order="attribution", max_exact=3)
    yield pw.patch(MODEL, PAIR, "embed", metric="kl")
    yield pw.patch(MODEL, PAIR, "mlp_act", "neuron", layers=[1], progress=lambda _: False)
    yield pw.patch_together(MODEL, two, ["L0H1.z"])
    yield pw.patch(SHARED, PAIR, "v")
    yield pw.patch(SHARED, PAIR, "z")
    yield pw.ablate(MODEL, PAIR, "z", "head_position")
    yield pw.ablate_together(MODEL, PAIR, ["L0H1.z"])
    yield pw.attribute(MODEL, PAIR, "z", exact=True)
    yield pw.path_patch(MODEL, PAIR, receivers=["logits"])
    yield pw.trace(MODEL, [1, 2, 3], [1], [7], samples=2)
    yield pw.difference(MODEL, two)
    yield pw.attention(MODEL, PAIR, 0, 1)
    yield pw.head_scores(MODEL, PAIR, length=4, repeats=1)
    yield pw.logit_lens(MODEL, two, places=["L0H1.z"])
    for part in ("layer", "head", "position", "neuron"):
        yield pw.logit_attribution(MODEL, PAIR, part=part)
    scored = pw.edge_attribution(MODEL, PAIR, exact=1)
    yield scored
    circuit = pw.Circuit.choose(scored, MODEL, 4)
    yield pw.evaluate_circuit(MODEL, PAIR, circuit, n_random=1)
    yield pw.evaluate_circuit(MODEL, two, circuit, n_random=0)


KINDS = [record_of(one, "2026-01-02T03:04:05.000006+00:00") for one in every_kind()]


def archived(one: Record, path: Path) -> Path:
    """An archive of this run, with the name and the digest that its contents have."""
    with path.open("wb") as stream:
        write_archive(stream, [one])
    return path


def brought_in(one: Record, folder: Path) -> pw.Result:
    """The run, taken in from an archive. Raises ArchiveError."""
    path = folder / f"{one.digest}.zip"
    try:
        archived(one, path)
    except (PatchwrightError, *serialization.READ_ERRORS) as error:  # it has no name: no experiment
        raise ArchiveError(str(error)) from error
    store = Store(folder / one.digest)
    store.import_archive(path)
    return store.get(store.entries()[0].id)


def use(result: pw.Result) -> None:
    """What people do with a result; sentences may refuse it, nothing may break on it."""
    json.loads(result.to_json())
    doings: list[Callable[[], object]] = [
        result.table,
        result.top,
        lambda: title_of(result),
        lambda: grids_of(result),
        lambda: Console(file=StringIO(), width=100).print(renderable(result)),
        lambda: insights(result),
        lambda: restore_state.nearest_page(METHODS.parse(result.experiment), result),
    ]
    for doing in doings:
        try:
            doing()
        except PatchwrightError:
            continue


@pytest.mark.parametrize("one", KINDS, ids=lambda one: f"{one.content['method']}-{one.id[:4]}")
def test_what_a_method_gives_is_taken_in(one: Record, tmp_path: Path) -> None:
    result = brought_in(one, tmp_path)
    use(result)


def test_every_method_is_among_them() -> None:
    assert {one.content["method"] for one in KINDS} == set(METHODS)


JUNK: list[Any] = [None, True, 0, -1, 7, 1e308, float("nan"), "", "x", "L0.z", [], {}, [0], [[]]]


def spots(node: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The paths to everything inside a JSON document."""
    items = node.items() if isinstance(node, dict) else enumerate(node)
    for key, value in items:
        yield (*path, key)
        if isinstance(value, dict | list):
            yield from spots(value, (*path, key))


def change(document: Any, path: tuple[Any, ...], how: str, junk: Any) -> None:
    """One thing in a document replaced, taken away, doubled or renamed."""
    *above, last = path
    for key in above:
        document = document[key]
    if how == "replace":
        document[last] = junk
    elif isinstance(document, list):
        document[last : last + 1] = [] if how == "remove" else [document[last]] * 2
    else:
        value = document.pop(last)
        if how == "rename":
            document[f"{last}x"] = value


@st.composite
def mutations(draw: st.DrawFn) -> Record:
    """A run of any method with one to three things changed, and a digest that fits."""
    one = draw(st.sampled_from(KINDS))
    document = json.loads(one.document)
    for _ in range(draw(st.integers(1, 3))):
        path = draw(st.sampled_from(list(spots(document))))
        how = draw(st.sampled_from(["replace", "replace", "remove", "rename"]))
        change(document, path, how, draw(st.sampled_from(JUNK)))
    return Record(json.dumps(document), one.arrays, one.created)


@st.composite
def other_arrays(draw: st.DrawFn) -> Record:
    """A run of any method with one of its arrays, or its labels, changed."""
    one = draw(st.sampled_from(KINDS))
    arrays = serialization._unpack_arrays(one.arrays)  # pyright: ignore[reportPrivateUsage]
    at = draw(st.integers(0, len(arrays) - 1))
    was = arrays[at]
    numbers = was if was.dtype.kind in "fi" else np.zeros(was.shape)
    others = [
        was[:0] if was.ndim else was,
        np.stack([was, was]),
        was.astype(str),
        np.nan_to_num(numbers).astype("i4"),
        numbers + 1,
        -numbers,
        np.full(was.shape, np.nan),
        np.full(was.shape, np.inf),
        np.zeros(was.shape, dtype=bool),
        was[..., None],
        was.ravel()[::-1],
    ]
    arrays[at] = draw(st.sampled_from(others))
    stream = BytesIO()
    np.savez_compressed(stream, *arrays)
    return Record(one.document, stream.getvalue(), one.created)


@settings(max_examples=int(os.environ.get("PATCHWRIGHT_FUZZ", "150")))
@given(st.one_of(mutations(), other_arrays()))
def test_a_changed_run_is_refused_or_can_be_used_like_any_other(
    tmp_path_factory: pytest.TempPathFactory, changed: Record
) -> None:
    try:
        result = brought_in(changed, tmp_path_factory.mktemp("changed"))
    except ArchiveError:
        return
    use(result)


def test_a_run_whose_effects_are_not_its_patched_runs_is_refused(tmp_path: Path) -> None:
    first = KINDS[2]
    result = serialization.result_in(first)
    assert bool(result.effect.notnull().all())
    arrays = {**result.arrays, "effect": result.effect + 0.25}
    edited = record_of(replace(result, arrays=arrays), first.created)
    with pytest.raises(ArchiveError, match="its effects are not those of its patched runs"):
        brought_in(edited, tmp_path)


def test_a_run_without_arrays_is_refused(tmp_path: Path) -> None:
    edited = record_of(replace(serialization.result_in(KINDS[0]), arrays={}), KINDS[0].created)
    with pytest.raises(ArchiveError, match="it has other arrays than its method"):
        brought_in(edited, tmp_path)


def test_a_run_of_key_value_heads_that_its_model_does_not_have_is_refused(tmp_path: Path) -> None:
    values = pw.patch(SHARED, PAIR, "v")
    assert values.model["kv_heads"] < values.model["heads"]
    moved = {name: one.assign_coords(head=one["head"] + 1) for name, one in values.arrays.items()}
    edited = record_of(replace(values, arrays=moved), KINDS[0].created)
    with pytest.raises(ArchiveError, match="it has heads that its model or prompts do not have"):
        brought_in(edited, tmp_path)
