"""What the example library says of SmolLM2, against its weights: every number and every layer.

The figures of the first tests were measured with plain hooks on the Hugging Face model.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from math import inf

import numpy as np
import pytest
from numpy.typing import NDArray

import patchwright as pw
from patchwright.prompts.examples import default_bos, example, examples
from patchwright.prompts.tokens import starts_chat_turn

pytestmark = pytest.mark.oracle

CLOSE = 2e-3
"""Between a figure of this file and what is measured; a figure of a sentence is rounded too."""

AMOUNTS = {
    "all": (0.9, inf),
    "nearly all": (0.8, inf),
    "most": (0.6, inf),
    "about half": (0.4, 0.6),
    "about a quarter": (0.15, 0.35),
    "next to nothing": (-0.15, 0.15),
}
"""Effects that a word stands for; a sentence that says that a place carries it means all of it."""

LAST_LAYER = 29


@dataclass(frozen=True)
class Carries:
    """How much one position of `resid_pre` carries from one layer to another, both included."""

    position: int
    first: int
    last: int
    amount: str = "all"


@dataclass(frozen=True)
class Figures:
    """Both baselines in the example's metric; the heads that are named, the strongest first.

    `attention` is what heads pay from the last position of the clean run to one position.
    """

    clean: float
    corrupt: float
    heads: dict[str, float]
    carries: tuple[Carries, ...] = ()
    attention: dict[str, tuple[int, float]] = field(default_factory=dict[str, tuple[int, float]])
    probability: float | None = None


def up_to(layer: int, position: int, amount: str = "all") -> Carries:
    return Carries(position, 0, layer, amount)


def last_from(layer: int, amount: str = "all") -> Carries:
    return Carries(-1, layer, LAST_LAYER, amount)


FIGURES = {
    "ioi": Figures(
        6.120, -5.485, {"L23H3": 0.584, "L24H4": -0.250, "L29H0": -0.203},
        (up_to(20, 9), last_from(24)),
    ),
    "ioi-third-name": Figures(
        3.543, -3.652, {"L23H3": 0.519, "L29H0": -0.170},
        (up_to(19, 9), last_from(25, "most")),
    ),
    "capital": Figures(
        7.313, -6.020, {"L23H4": 0.9347, "L29H0": -0.282},
        (up_to(23, 3), last_from(24)), {"L23H4": (3, 0.90)},
    ),
    "agreement": Figures(
        3.272, -3.623, {"L26H0": 0.808, "L27H8": 0.487},
        (up_to(26, 1, "nearly all"), last_from(28)),
    ),
    "agreement-past": Figures(
        3.743, -1.887, {"L26H0": 0.7447, "L27H8": 0.371},
        (up_to(26, 1, "nearly all"), last_from(28)),
    ),
    "gpt2-opposite": Figures(
        11.416, -6.585, {"L22H8": 0.289},
        (up_to(22, 3, "most"), last_from(25, "most")),
    ),
    "gpt2-language": Figures(
        3.372, -4.366, {"L23H4": 0.860, "L29H0": -0.368},
        (up_to(23, 2), last_from(24)),
    ),
    "gpt2-docstring": Figures(
        14.658, -11.571, {"L23H7": 0.120},
        (up_to(22, 9), last_from(27)),
    ),
    "landmark-city": Figures(
        2.857, -8.704, {"L23H4": 0.507, "L29H0": -0.271},
        (up_to(23, 2, "most"), last_from(24, "most")),
    ),
    "landmark-country": Figures(
        5.421, -4.987, {"L23H4": 0.7647, "L23H5": 0.448, "L29H0": -0.338},
        (up_to(23, 2), last_from(24, "nearly all")),
    ),
    "plural": Figures(
        13.166, -11.331, {"L23H0": 0.367, "L23H5": 0.312, "L23H4": 0.064},
        (up_to(23, 3), last_from(24, "nearly all")),
    ),
    "past-tense": Figures(
        7.467, -3.548, {"L21H6": 0.191, "L23H3": -0.133},
        (up_to(21, 2, "most"), last_from(24, "most")),
    ),
    "pronoun-queen": Figures(
        4.646, -1.817, {"L25H2": 0.753, "L26H2": 0.722, "L26H0": -0.249},
        (up_to(25, 1, "most"), last_from(27, "nearly all")),
    ),
    "induction-words": Figures(
        5.789, -6.429, {"L18H6": 0.350},
        (up_to(18, 3), last_from(24, "most")),
    ),
    "counting": Figures(
        5.366, -5.220, {"L23H3": 0.634},
        (
            up_to(20, 4, "about half"), up_to(20, 0, "next to nothing"),
            last_from(24, "nearly all"),
        ),
    ),
    "greater-decade": Figures(
        0.993, -0.700, {"L20H8": 0.443, "L23H0": 0.287},
        (up_to(20, 9), last_from(21)),
    ),
    "sum": Figures(
        7.079, -4.276, {"L23H3": 0.479, "L21H2": 0.267},
        (
            up_to(21, 9, "most"), last_from(24),
            Carries(9, 22, 23, "about half"), Carries(-1, 22, 23, "about half"),
        ),
    ),
    "claim-rejected": Figures(
        7.919, -6.261, {"L23H4": 0.902},
        (up_to(23, 17, "most"), last_from(24)),
    ),
    "claim-rejected-landmark": Figures(
        4.836, -11.668, {"L23H4": 0.5551, "L23H5": 0.374},
        (up_to(23, 17, "most"), up_to(23, 6, "about a quarter")),
    ),
    "claim-followed": Figures(
        3.755, -1.517, {"L23H0": 0.768, "L24H4": -0.652, "L23H3": -0.386},
        (up_to(21, 8), last_from(24)),
    ),
    "claim-remembered": Figures(
        3.204, -6.778, {"L23H0": 0.344, "L23H1": 0.307, "L24H4": -0.326},
        attention={"L23H0": (7, 0.43), "L23H1": (7, 0.54)}, probability=0.77,
    ),
    "claim-or-truth": Figures(
        2.186, -2.161, {"L19H4": 0.232},
        (up_to(11, 11, "most"), last_from(19, "nearly all")),
    ),
}  # fmt: skip
"""By example; heads by what they restore with all positions patched at once."""


@dataclass(frozen=True)
class Seen:
    """An example's sweeps: `resid_pre` at the positions of its figures, `z` of every head."""

    stream: pw.Result
    heads: pw.Result

    def effect(self, head: str) -> float:
        layer, number = layer_and_head(head)
        return float(self.heads.effect.sel(layer=layer, head=number))

    def carried(self, one: Carries) -> NDArray[np.float64]:
        position = one.position % len(self.stream.tokens["clean"])
        return self.stream.effect.sel(position=position, layer=slice(one.first, one.last)).values


def layer_and_head(head: str) -> tuple[int, int]:
    layer, number = head[1:].split("H")
    return int(layer), int(number)


@pytest.fixture(scope="session")
def seen(smollm2: pw.Model) -> Callable[[str], Seen]:
    """The sweeps of an example, each made once."""

    @cache
    def of(name: str) -> Seen:
        one = example(name)
        begun = default_bos("smollm2")
        positions = sorted({carries.position for carries in FIGURES[name].carries} | {-1})
        stream = pw.patch(
            smollm2, one.pair, "resid_pre", metric=one.metric, bos=begun, positions=positions
        )
        return Seen(stream, pw.patch(smollm2, one.pair, "z", metric=one.metric, bos=begun))

    return of


def test_there_are_figures_for_every_example() -> None:
    suited = {one.id for one in examples() if "smollm2" in one.models}
    assert suited == set(FIGURES)
    assert len(suited) >= 12
    assert sum(example(name).task == "misinformation" for name in suited) >= 3


@pytest.mark.parametrize("name", FIGURES)
def test_the_model_answers_both_prompts_and_nothing_is_to_be_warned_of(
    seen: Callable[[str], Seen], name: str
) -> None:
    result, figures = seen(name).stream, FIGURES[name]
    assert result.clean.metric == pytest.approx(figures.clean, abs=CLOSE)
    assert result.corrupt.metric == pytest.approx(figures.corrupt, abs=CLOSE)
    assert result.clean.top[0]["token"] in example(name).pair.answers
    assert {one["code"] for one in result.warnings} <= {"quantized"}
    if figures.probability is not None:
        assert result.clean.probability == pytest.approx(figures.probability, abs=0.005)


@pytest.mark.parametrize("name", FIGURES)
def test_heads_and_positions_restore_what_the_figures_say(
    seen: Callable[[str], Seen], smollm2: pw.Model, name: str
) -> None:
    own, figures = seen(name), FIGURES[name]
    found = {head: own.effect(head) for head in figures.heads}
    assert found == pytest.approx(figures.heads, abs=CLOSE)
    assert own.heads.top(1)["place"].tolist() == [f"{next(iter(figures.heads))}.z"]
    for one in figures.carries:
        low, high = AMOUNTS[one.amount]
        carried = own.carried(one)
        assert ((carried >= low) & (carried <= high)).all(), (one, carried.round(2))
    for head, (position, share) in figures.attention.items():
        pattern = pw.attention(smollm2, example(name).pair, *layer_and_head(head), bos=False)
        paid = float(pattern.array("pattern").sel(run="clean").values[-1, position])
        assert paid == pytest.approx(share, abs=0.005)


@pytest.mark.parametrize("name", FIGURES)
def test_a_sentence_names_the_figures_and_no_others(name: str) -> None:
    figures, sentence = FIGURES[name], example(name).seen["smollm2"]
    said = re.findall(r"(L\d+H\d+)\D*?(-?\d\.\d\d)", sentence)
    assert dict(said) == {head: f"{effect:.2f}" for head, effect in figures.heads.items()}
    assert set(re.findall(r"L\d+H\d+", sentence)) == set(figures.heads)
    others = [share for _, share in figures.attention.values()]
    others += [] if figures.probability is None else [figures.probability]
    numbers = sorted([effect for _, effect in said] + [f"{one:.2f}" for one in others])
    assert sorted(re.findall(r"-?\d\.\d\d", sentence)) == numbers
    bounds = {bound for one in figures.carries for bound in (one.first, one.last)}
    layers = {
        int(one) for one in re.findall(r"(?<=[rs] )\d+\b(?!\.)|(?<=and )\d+\b(?!\.\d)", sentence)
    }
    assert layers <= bounds | {layer_and_head(head)[0] for head in figures.heads}
    assert bounds - {0, LAST_LAYER} <= layers
    assert all(one.amount in sentence for one in figures.carries if one.amount != "all")


def test_its_first_token_starts_a_turn_of_a_chat(smollm2: pw.Model) -> None:
    assert smollm2.tokenizer is not None
    assert starts_chat_turn(smollm2.tokenizer)


def test_the_beginning_of_text_token_takes_from_the_head_that_reads_out_capitals(
    smollm2: pw.Model,
) -> None:
    """0.9347 without it: see the example's figures."""
    begun = pw.patch(smollm2, example("capital").pair, "z", layers=[23], heads=[4], bos=True)
    assert float(begun.effect.squeeze()) == pytest.approx(0.846, abs=CLOSE)


def test_names_go_by_the_heads_that_plain_hooks_found(seen: Callable[[str], Seen]) -> None:
    measured = {"L23H3": 0.58, "L29H1": 0.27, "L24H4": -0.25, "L20H0": 0.22, "L29H0": -0.20}
    measured |= {"L17H4": 0.18}
    found = {head: seen("ioi").effect(head) for head in measured}
    assert found == pytest.approx(measured, abs=0.005 + CLOSE)
    assert [place[:-2] for place in seen("ioi").heads.top(6)["place"]] == list(measured)


@pytest.mark.parametrize("layer", [0, 7, 14, 21])
def test_the_three_tokens_of_a_landmark_carry_it_together_up_to_layer_21(
    smollm2: pw.Model, layer: int
) -> None:
    places = [f"L{layer}.resid_pre@{position}" for position in (1, 2, 3)]
    together = pw.patch_together(smollm2, example("landmark-city").pair, places, bos=False)
    assert float(together.effect) > 0.9


def test_the_keys_are_and_the_key_is(smollm2: pw.Model) -> None:
    pair = pw.Pair(
        clean="The keys to the cabinet", corrupt="The key to the cabinet",
        answer=" are", wrong=" is",
    )  # fmt: skip
    result = pw.patch(smollm2, pair, layers=[0], positions=[-1], bos=False)
    assert result.clean.metric == pytest.approx(3.410, abs=CLOSE)


def test_a_chat_has_its_own_templates_tokens(smollm2: pw.Model) -> None:
    said = "What is the capital of {}? Answer in one word."
    clean, corrupt = (
        [{"role": "user", "content": said.format(one)}] for one in ("France", "Italy")
    )
    pair = pw.Pair(clean=clean, corrupt=corrupt, answer="Paris", wrong="Rome")
    result = pw.patch(smollm2, pair)
    assert smollm2.tokenizer is not None
    whole = smollm2.tokenizer.whole
    theirs = whole.apply_chat_template(clean, add_generation_prompt=True, tokenize=False)
    assert "".join(map(str, result.tokens["clean"])) == theirs
    assert result.tokens["clean"][0] == "<|im_start|>"
    codes = [one["code"] for one in result.warnings]
    assert "template_system" in codes
    assert not {"bos_added", "chat_turn", "no_leading_space", "flat_gap", "small_gap"} & set(codes)
    assert result.clean.metric > 0 > result.corrupt.metric
    # The country's token carries the answer in the lower layers, the turn's last one in the upper.
    country = list(result.tokens["clean"]).index(" France")
    assert result.effect.sel(layer=5, position=country) > 0.8
    assert result.effect.isel(layer=-1, position=-1) > 0.8
