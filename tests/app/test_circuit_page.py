"""The page Circuit without a browser: its steps, its sentences, and what it refuses."""

from itertools import pairwise

import numpy as np
import pytest

import patchwright as pw
from app_pages import offers_files, one_view, settled, words
from patchwright.app import build_experiment, session_state, url_state
from patchwright.app.views.circuit import areas, checked_rows, strongest_of
from patchwright.errors import InputError
from patchwright.figures.altair_charts import (
    checked_chart,
    circuit_curve,
    circuit_graph,
    curve_rows,
    graph_rows,
)
from patchwright.figures.circuit_layout import layout
from patchwright.prompts.examples import example
from tiny import pair_of

pytestmark = pytest.mark.filterwarnings("default")

PAIR = pair_of([3, 8, 21, 5], [3, 9, 22, 5])


def test_the_first_paint_goes_through_all_five_steps() -> None:
    page = one_view("circuit")
    assert not page.error
    titles = [one.value for one in page.subheader]
    assert [title[:2] for title in titles[:5]] == ["1.", "2.", "3.", "4.", "5."]
    assert offers_files(page)
    text = words(page, "markdown")
    assert "**2,188 edges**" in text
    assert "30 of 2,188 edges keep" in text
    assert "random circuits of that size keep" in text
    assert "10 edges were measured exactly" in text


def test_pruning_sets_the_size_to_the_smallest_that_suffices() -> None:
    page = one_view("circuit", edges="64", edge_share="50")
    prune = page.button(key="prune")
    wanted = int(prune.label.split()[2])
    assert wanted < 64
    settled(prune.click().run())
    assert page.number_input(key="edges").value == wanted
    assert f"{wanted} of 2,188 edges keep" in words(page, "markdown")
    assert page.button(key="prune").disabled


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"corrupt": "When Mary and John went to the big store, Mary gave a drink to"}, "tokens"),
        ({"corrupt": "When Mary and John went", "align": "edges"}, "same number of tokens"),
        ({"metric": "rank"}, "has no gradient"),
        ({"metric": "logprob", "answer": " Mary said"}, "several tokens"),
        ({"answer": ""}, "No answer was given"),
    ],
)
def test_what_has_no_circuit_is_refused_in_one_sentence(given: dict[str, str], says: str) -> None:
    fields = session_state.fields_of(example("ioi"))
    pair = {name: str(fields[name]) for name in ("clean", "corrupt", "answer", "wrong")}
    page = one_view("circuit", **(pair | given))
    assert len(page.error) == 1
    assert says in page.error[0].value


def test_a_size_beyond_the_models_edges_becomes_all_of_them() -> None:
    page = one_view("circuit", edges="4096", edge_order="strongest", edge_estimate="gradient")
    assert page.number_input(key="edges").value == 2188
    assert "2,188 of 2,188 edges keep 100 % of the gap" in words(page, "markdown")
    assert any("100 strongest of its 2,188" in one.value for one in page.caption)


def test_sizes_rise_hold_the_chosen_one_and_end_within_the_circuit() -> None:
    for chosen, n_edges in [(30, 2188), (1, 1), (7, 7), (300, 2188), (2188, 2188), (256, 4096)]:
        sizes = build_experiment.sizes_of(chosen, n_edges)
        assert chosen in sizes
        assert all(one < other for one, other in pairwise(sizes))
        assert sizes[0] >= 1
        assert sizes[-1] <= n_edges
    assert build_experiment.sizes_of(30, 2188) == (1, 2, 4, 8, 16, 30, 32, 64, 128, 256)


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("edges", "0", "1 to 4,096"),
        ("edges", "9999", "1 to 4,096"),
        ("edges", "many", "no number"),
        ("edge_share", "101", "1 to 100"),
        ("edge_order", "greedy", "connected, strongest"),
        ("edge_estimate", "exact", "integrated, gradient"),
    ],
)
def test_a_wrong_address_is_refused_with_what_it_may_be(name: str, text: str, says: str) -> None:
    with pytest.raises(InputError, match=says):
        url_state.read("circuit", {name: text})


def test_the_address_holds_what_was_chosen() -> None:
    page: dict[object, object] = {}
    session_state.prepare(page)
    page |= {"edges": 12, "edge_order": "strongest", "edge_estimate": "gradient", "edge_share": 70}
    written = url_state.written("circuit", page)
    read = url_state.read("circuit", written)
    assert {
        name: read[name] for name in ("edges", "edge_order", "edge_estimate", "edge_share")
    } == {
        "edges": 12,
        "edge_order": "strongest",
        "edge_estimate": "gradient",
        "edge_share": 70,
    }


@pytest.fixture
def scored(model: pw.Model) -> pw.Result:
    return pw.edge_attribution(model, PAIR, exact=5, bos=False)


@pytest.fixture
def circuit(model: pw.Model, scored: pw.Result) -> pw.Circuit:
    return pw.Circuit.choose(scored, model, top=40)


def test_checked_edges_are_the_results_strongest_first(scored: pw.Result) -> None:
    frame = checked_rows(scored)
    assert len(frame) == 5
    sizes = frame["estimate"].abs().tolist()
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] == float(np.nanmax(np.abs(scored.array("edges").values)))
    for row in frame.to_dict("records"):
        sender, receiver = str(row["edge"]).split(" → ")
        at = {"sender": sender, "receiver": receiver}
        assert row["exact"] == float(scored.array("exact").sel(at))
        assert row["difference"] == row["estimate"] - row["exact"]
    drawn = checked_chart(frame, "logit_diff").to_dict()
    assert len(drawn["layer"]) == 2


def test_the_curve_draws_every_measured_circuit_once(model: pw.Model, circuit: pw.Circuit) -> None:
    found = pw.evaluate_circuit(model, PAIR, circuit, [0, 1, 8, 40], n_random=2, bos=False)
    rows = curve_rows(found)
    # No place on a logarithmic axis for size 0.
    assert len(rows) == 3 * (2 + 2)
    one = rows[(rows["runs"] == "all but it") & (rows["edges"] == 8)]
    assert one["share"].item() == float(found.array("complement").sel(size=8))
    assert len(circuit_curve(found, 8).to_dict()["layer"]) == 4
    assert f"circuit {100 * found.details['area']:.0f} %" in areas(found)


def test_nothing_is_drawn_for_what_was_stopped(model: pw.Model, circuit: pw.Circuit) -> None:
    found = pw.evaluate_circuit(
        model, PAIR, circuit, [1, 8], n_random=1, bos=False, progress=lambda now: now.done < 3
    )
    assert curve_rows(found)["edges"].tolist() == [1, 1, 1]


def test_the_strongest_edges_are_those_drawn(circuit: pw.Circuit) -> None:
    edges, scores = strongest_of(circuit, 20, 6)
    known = dict(zip(circuit.edges[:20], circuit.scores[:20], strict=True))
    assert len(edges) == 6
    assert [known[edge] for edge in edges] == scores
    left_out = [abs(known[edge]) for edge in known if edge not in edges]
    assert min(map(abs, scores)) >= max(left_out)


def test_every_edge_runs_up_from_its_sender_to_its_receivers_node(circuit: pw.Circuit) -> None:
    lines, nodes = graph_rows(circuit.edges, circuit.scores)
    at = {row["node"]: (row["across"], row["up"]) for row in nodes.to_dict("records")}
    assert lines["edge"].nunique() == len(circuit.edges)
    for (sender, receiver), score in zip(circuit.edges, circuit.scores, strict=True):
        points = lines[lines["edge"] == f"{sender} → {receiver}"].sort_values("step")
        path = list(zip(points["across"], points["up"], strict=True))
        assert path[0] == at[sender]
        assert path[-1] == pytest.approx(
            at[receiver.split(".")[0] if "H" in receiver else receiver]
        )
        assert path[0][1] < path[-1][1]
        lowers = points["sign"].iloc[0] == "corrupting it lowers the metric"
        assert lowers == (score < 0)
    assert nodes["edges in"].sum() == nodes["edges out"].sum() == len(circuit.edges)


def test_no_two_nodes_stand_in_one_place() -> None:
    spec = pw.load_model("demo").spec
    heads = [f"L{layer}H{head}" for layer in range(spec.n_layers) for head in range(spec.n_heads)]
    edges = [("embed", f"{head}.k") for head in heads] + [
        ("L0.mlp", "L1.mlp"),
        ("L1.mlp", "logits"),
    ]
    placed = layout(edges)
    assert len(set(placed.at.values())) == len(placed.at)
    assert placed.rows[0] == "embed"
    assert placed.rows[-1] == "logits"
    assert all(0 <= across <= 1 for across, _ in placed.at.values())


def test_a_graph_of_one_edge_and_of_many_can_be_drawn(circuit: pw.Circuit) -> None:
    for count in (1, 40):
        drawn = circuit_graph(circuit.edges[:count], circuit.scores[:count]).to_dict()
        assert len(drawn["layer"]) == 3
