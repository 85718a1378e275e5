"""What `bench/` compares: every shape, small, done by this engine and by hooks."""

import importlib
import sys
from collections.abc import Generator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

BENCH = Path(__file__).parents[1] / "bench"
MODULES = (
    "cases",
    "work",
    "sections",
    "contestants",
    "processes",
    "sweeps",
    "many_pairs",
    "sizes",
    "report",
)


@pytest.fixture(scope="module")
def bench() -> Generator[dict[str, Any]]:
    """The scripts, which import one another by their file names."""
    sys.path.insert(0, str(BENCH))
    yield {name: importlib.import_module(name) for name in MODULES}
    sys.path.remove(str(BENCH))
    for name in MODULES:
        del sys.modules[name]


def small(case: Any) -> Any:
    """The case on two layers of narrow heads, with as many heads and positions."""
    shape = case.with_layers(2).shape
    sizes = {"d_model": 4 * shape.n_heads, "d_mlp": 24, "n_vocab": 64}
    return replace(case, shape=replace(shape, **sizes))


def every_case(bench: dict[str, Any]) -> list[Any]:
    cases = bench["cases"]
    grown = cases.doubled(cases.GPT2_SMALL)
    return [
        cases.MANY_PAIRS,
        *(case for some in (cases.CASES, cases.SIZES, grown) for case in some.values()),
    ]


def test_this_engine_and_hooks_agree_on_every_case(bench: dict[str, Any], tmp_path: Path) -> None:
    contestants, tolerance = bench["contestants"], bench["processes"].TOLERANCE
    for number, whole in enumerate([*bench["cases"].CASES.values(), bench["cases"].MANY_PAIRS]):
        case, name, folder = small(whole), whole.name, tmp_path / str(number)
        spots = case.spots()[:: max(1, len(case.spots()) // 40)]
        model = contestants.random_model(case.shape)
        with torch.no_grad():
            model.get_output_embeddings().weight.mul_(30)
            contestants.save(model, folder)
            ours, hooks = (
                contestants.CONTESTANTS[one](folder, case.shape).values(case, spots, case.pairs(2))
                for one in ("patchwright", "hooks")
            )
        assert all(len(set(of_pair)) > 5 for of_pair in ours), name
        assert ours[0] != ours[1], name
        torch.testing.assert_close(
            torch.tensor(ours), torch.tensor(hooks), rtol=0, atol=tolerance, msg=name
        )


def test_the_arithmetic_of_a_llama_counts_its_gate_and_its_fewer_keys(
    bench: dict[str, Any],
) -> None:
    cases, needed = bench["cases"], bench["work"].needed_flops
    case = cases.CASES["smollm2_resid_pre"].with_layers(1)
    whole = replace(case.shape, n_kv_heads=case.shape.n_heads)
    gpt2 = replace(case, shape=replace(whole, family="gpt2"))
    queries = 2 * whole.d_model**2
    # Keys and values of all positions: in the base runs, and in the sweep one for each place.
    keys = 2 * queries * 3 * whole.n_tokens
    rows = 2 + whole.n_tokens  # one position is read in each run
    gate = 2 * whole.d_model * whole.d_mlp * rows
    assert needed(case) == needed(gpt2) + gate - keys * 2 // 3


def test_a_case_reaches_another_process_as_it_is(bench: dict[str, Any]) -> None:
    for case in every_case(bench):
        assert bench["cases"].Case.from_json(case.to_json()) == case


def test_the_first_of_many_pairs_are_those_of_few_and_differ_where_the_case_says(
    bench: dict[str, Any],
) -> None:
    for case in every_case(bench):
        many = case.pairs(5)
        assert case.pairs(2) == many[:2]
        for pair in many:
            both = zip(pair.clean, pair.corrupt, strict=True)
            assert [i for i, (one, other) in enumerate(both) if one != other] == list(case.changed)


def test_doubling_a_size_doubles_that_one_alone(bench: dict[str, Any]) -> None:
    shape = bench["cases"].GPT2_SMALL
    doubles = {
        name: {key for key, value in vars(case.shape).items() if value == 2 * vars(shape)[key]}
        for name, case in bench["cases"].doubled(shape).items()
        if all(value in (old, 2 * old) for value, old in zip_shapes(case.shape, shape))
    }
    assert doubles == {
        "layers": {"n_layers"},
        "positions": {"n_tokens"},
        "width": {"n_heads", "n_kv_heads", "d_model", "d_mlp"},
    }


def zip_shapes(one: Any, other: Any) -> list[tuple[Any, Any]]:
    numbers = [key for key, value in vars(other).items() if isinstance(value, int)]
    return [(vars(one)[key], vars(other)[key]) for key in numbers]


def test_the_peak_is_that_of_the_products_that_were_used(bench: dict[str, Any]) -> None:
    work, peak_of = bench["work"], bench["processes"].peak_of
    peaks = [{work.MKL: 2.0, work.ONEDNN: 5.0}, {work.MKL: 3.0, work.ONEDNN: 4.0}]
    assert peak_of({"products": {"aten::addmm": 0.9}}, peaks) == 3.0
    assert peak_of({"products": {"aten::addmm": 0.1, work.ONEDNN: 0.8}}, peaks) == 5.0
    assert peak_of({"products": {work.ONEDNN: 0.8}}, [{work.MKL: 2.0}]) == 2.0


def test_a_former_engine_that_is_not_in_the_repository_is_absent_with_the_reason(
    bench: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    processes = bench["processes"]
    monkeypatch.setattr(processes, "FORMER_COMMIT", "0" * 40)
    with processes.former_source() as found:
        assert isinstance(found, str)
        run = processes.Processes(options(bench), found)
        case = bench["cases"].CASES["resid_pre"]
        assert run.contestant("former", case, Path("none")) == {"absent": found}


def options(bench: dict[str, Any]) -> Any:
    return bench["processes"].Options(
        cases=("resid_pre",),
        contestants=("patchwright", "former", "nnsight"),
        pythons={},
        layers=None,
        repeats=1,
        sample=2,
        pairs=100,
        sampled_pairs=10,
        threads=1,
        json=None,
        markdown=None,
    )


def test_tables_say_who_failed_who_is_absent_and_how_many_times_as_fast_the_rest_is(
    bench: dict[str, Any],
) -> None:
    done = {
        "seconds": 2.0,
        "pairs": 100,
        "measured": 180,
        "products": {bench["work"].ONEDNN: 0.8},
        "memory": {"peak": 2**30},
        "resident": [(0.1, 2**29), (0.6, 2**30), (1.0, 2**30)],
        "libraries": {},
    }
    reports = {
        "patchwright": done,
        "former": {"absent": "no git"},
        "nnsight": {"failed": "no room"},
    }
    case = bench["sweeps"].described(bench["cases"].CASES["resid_pre"], reports)
    case |= {"weights": 2**20, "size": "small"}
    peaks = [{bench["work"].MKL: 1e11, bench["work"].ONEDNN: 2e11}]
    document = {"cases": {"many_pairs": case}, "peaks": peaks}
    for part in ("sweeps", "many_pairs"):
        (text,) = bench[part].sections(document, options(bench)).values()
        assert "absent: no git" in text
        assert "nnsight failed: no room" in text
    slow = {**done, "seconds": 10.0, "pairs": 10}
    case["contestants"] = {"patchwright": done, "former": slow, "nnsight": slow}
    (text,) = bench["many_pairs"].sections(document, options(bench)).values()
    assert "| Patchwright | 50.00 |  | 100 | 1,024 |" in text
    assert "| nnsight | ≈ 1.00 | 50.0 × | 10 | 1,024 |" in text
    assert "| 60 | 1,024 |" in text


def test_growth_is_told_beside_what_the_arithmetic_predicts(bench: dict[str, Any]) -> None:
    cases, described = bench["cases"], bench["sweeps"].described
    grown = cases.doubled(cases.GPT2_SMALL)
    document: dict[str, Any] = {"growth": ["small", *grown], "peaks": [{bench["work"].MKL: 1e11}]}
    document["cases"] = {
        case.name: described(case, {"patchwright": {"seconds": 3.0, "libraries": {}}})
        | {"weights": 2**20}
        for case in [*cases.SIZES.values(), *grown.values()]
    }
    document["cases"]["layers"]["contestants"] = {"patchwright": {"seconds": 12.0}}
    document["cases"]["xl"]["contestants"] = {"patchwright": {"failed": "no room"}}
    (text,) = bench["sizes"].sections(document, options(bench)).values()
    assert "24 layers, width 768, 15 positions) | 12.00 | 4.00 × | 4.07 × |" in text
    assert "xl: Patchwright failed: no room" in text
