"""One policy of cost: every experiment states what it takes, and every front end bounds it."""

from dataclasses import replace
from typing import Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

import patchwright as pw
from patchwright.app import limits as page
from patchwright.errors import InputError
from patchwright.experiment.base import OnPairs
from patchwright.experiment.cost import sequence_length
from patchwright.experiment.limits import Limits
from patchwright.experiment.patching import cell_count
from patchwright.experiment.run import run, tokens_of
from patchwright.methods import METHODS
from patchwright.methods.patch import Patch
from patchwright.methods.trace import Trace
from patchwright.model.load import Model
from patchwright.places import SITES, Site, pers_of
from patchwright.prompts.examples import examples
from patchwright.prompts.tokens import encode
from patchwright.server.limits import Limits as ServerLimits
from tiny import pair_of

PAIR = pair_of([1, 2, 3, 4], [1, 5, 3, 4])
ALL = {"page": page.LIMITS, "server": ServerLimits()}


def with_sizes(model: Model, **sizes: int) -> Model:
    return replace(model, network=replace(model.network, spec=replace(model.spec, **sizes)))


def patch_of(site: Site = "resid_pre", per: Any = "position", **more: Any) -> Patch:
    layers = (1,) if per == "neuron" else None
    given: dict[str, Any] = {"model": "tiny", "pairs": PAIR, "layers": layers, **more}
    return Patch(site=site, per=per, **given)


def test_an_experiment_that_states_no_cost_cannot_be() -> None:
    class Unheard(OnPairs):
        """One that has forgotten what it is to say."""

        main: ClassVar[str] = "heard"
        method: str = "unheard"

    with pytest.raises(
        TypeError, match=r"Unheard.*abstract methods.*compute.*cost.*output.*question.*title"
    ):
        Unheard.of({"model": "tiny", "pairs": PAIR})


def test_a_method_without_a_main_array_cannot_be_declared() -> None:
    with pytest.raises(TypeError, match="Mute needs a main array and a docstring"):

        class Mute(OnPairs):  # pyright: ignore[reportUnusedClass]
            method: str = "mute"


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("kind", list(METHODS.values()), ids=lambda one: one.__name__)
def test_no_list_of_an_experiment_is_without_a_bound(
    model: Model, kind: type[Any], name: str
) -> None:
    """Whatever lists there are, and those that a later method brings."""
    lists = [field for field, info in kind.model_fields.items() if "tuple" in str(info.annotation)]
    for field in lists:
        endless = ("x",) * 20_000
        pairs = (PAIR,) * 20_000 if field == "pairs" else PAIR
        given: dict[str, Any] = {"model": "tiny", "metric": "logprob", "bos": False, "pairs": pairs}
        given |= {
            "prompt": [1, 2, 3],
            "answer": 4,
            "subject": (1,),
            "samples": 1,
            "site": "resid_post",
        }
        if field != "pairs":
            given[field] = tuple(range(20_000)) if field == "answer" else endless
        # Not validated: what counts is that `check` looks at it.
        asked = kind.model_construct(**{**_usual(kind), **given})
        with pytest.raises(InputError, match="takes at most"):
            ALL[name].check(asked, model)


def _usual(kind: type[Any]) -> dict[str, Any]:
    return {
        name: info.get_default()
        for name, info in kind.model_fields.items()
        if not info.is_required()
    }


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize(
    "one", [one for one in examples() if "demo" in one.models], ids=lambda one: one.id
)
def test_every_example_is_within_the_bounds_of_every_front_end(
    demo: pw.Model, one: Any, name: str
) -> None:
    ALL[name].check(Patch(model="demo", pairs=one.pair, metric=one.metric, per="position"), demo)


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("text", [" Mary", " Mary Mary"])
def test_hundreds_of_alternatives_of_an_answer_are_refused(
    demo: pw.Model, name: str, text: str
) -> None:
    pair = pw.Pair(
        clean="The key is", corrupt="The keys are", answer=[f"{text} {i}" for i in range(400)]
    )
    asked = Patch(model="demo", pairs=pair, metric="logprob", per="position")
    with pytest.raises(InputError, match=r"400 answers, and this (page|server) takes at most 256"):
        ALL[name].check(asked, demo)
    trace = Trace(model="demo", prompt="The key is", subject=" key", answer=pair.answer)
    with pytest.raises(InputError, match="400 answers"):
        ALL[name].check(trace, demo)


@given(
    st.lists(
        st.sampled_from([" Paris", " Rome", " Reykjavik", " Antananarivo", " xyzzy", " xyz"]),
        min_size=1,
        unique=True,
    )
)
def test_a_cell_counts_as_many_runs_as_its_answers_have_beginnings(
    demo: pw.Model, answers: list[str]
) -> None:
    pair = pw.Pair(
        clean="The capital of France is", corrupt="The capital of Italy is", answer=answers
    )
    asked = Patch(model="demo", pairs=pair, metric="logprob", per="position")
    tokens = tokens_of(pair, asked, demo)
    beginnings = {encode(one, demo.tokenizer)[:-1] for one in answers}
    cells = asked.cost([tokens], demo).cells
    assert cells == cell_count(asked, sequence_length(tokens), demo) * len(beginnings)
    with pytest.raises(InputError, match="cells"):
        Limits(cells=cells - 1).check(asked, demo)
    Limits(cells=cells).check(asked, demo)


@pytest.mark.parametrize(
    ("site", "per"), [(site, per) for site in SITES for per in pers_of(site)]
)  # fmt: skip
def test_cells_are_counted_as_the_sweep_has_them(model: Model, site: Site, per: Any) -> None:
    asked = patch_of(site, per)
    tokens = [tokens_of(PAIR, asked, model)]
    assert asked.cost(tokens, model).cells == run(asked, model).patched.size
    both = patch_of(site, per, pairs=(PAIR, PAIR))
    assert both.cost(tokens * 2, model).cells == run(both, model).patched.size


@pytest.mark.parametrize("name", ALL)
def test_prompts_up_to_the_bound_pass_and_one_token_more_is_named(model: Model, name: str) -> None:
    long, most = with_sizes(model, n_context=1000), ALL[name].tokens
    ALL[name].check(patch_of(pairs=pair_of([1] * most, [2] * most)), long)
    with pytest.raises(InputError, match=f"has {most + 1} tokens.*at most {most}"):
        ALL[name].check(patch_of(pairs=pair_of([1] * (most + 1), [2] * (most + 1))), long)


@pytest.mark.parametrize("name", ALL)
def test_noisy_runs_and_gradients_that_would_fill_the_memory_are_refused(
    demo: pw.Model, name: str
) -> None:
    trace = Trace(model="demo", prompt="The key to the cabinet", subject=(1,), answer=" is")
    edges = pw.EdgeAttribution(
        model="demo",
        pairs=pw.Pair(clean="The key to", corrupt="The keys to", answer=" is", wrong=" are"),
    )
    for asked in (trace, edges):
        ALL[name].check(asked, demo)
        with pytest.raises(InputError, match=r"MiB of memory.*at most 3,072 MiB"):
            ALL[name].check(asked, with_sizes(demo, d_model=2**24))
