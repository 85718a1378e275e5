"""The page Circuit without a browser: its graph, its sentences, and what it refuses."""

import re
from itertools import pairwise
from threading import Event

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

import patchwright as pw
from app_pages import offers_files, one_view, settled, unopened_view, words, workbench
from patchwright.algorithms.batches import Progress
from patchwright.app import build_experiment, session_state, url_state
from patchwright.app.views import circuit_place
from patchwright.app.views.circuit import SLOTS, checked_rows, curve_help, edge_rows
from patchwright.edges import edge_name
from patchwright.errors import InputError
from patchwright.figures.altair_charts import circuit_curve, curve_rows, estimates_chart
from patchwright.jobs import Job
from patchwright.model.graph import Graph
from patchwright.prompts.examples import example
from timeouts import SECONDS
from tiny import pair_of

pytestmark = pytest.mark.filterwarnings("default")

PAIR = pair_of([3, 8, 21, 5], [3, 9, 22, 5])


def conclusion(page: AppTest) -> str:
    """The sentence above the graph."""
    (found,) = (one.proto.body for one in page.get("html") if "conclusion" in one.proto.body)
    return found.replace("\N{NO-BREAK SPACE}", " ")


def test_the_first_paint_is_a_graph_with_an_inspector_and_a_conclusion() -> None:
    page = one_view("circuit")
    assert not page.error
    assert offers_files(page)
    assert "30 of 2,188 edges keep" in conclusion(page)
    assert "random circuits of that size keep" in conclusion(page)
    assert "10 edges were measured exactly" in words(page, "caption")
    bench = workbench(page)
    graph, inspector = bench["graph"], bench["inspector"]
    assert (bench["state"], graph["size"], graph["most"]) == ("rest", 30, 2188)
    assert graph["near"]["ranks"] == list(range(30))
    assert graph["wide"]["ranks"] == list(range(100))
    first = graph["edges"]["0"]
    assert (first["target"], inspector["place"]) == ("logits", first["sender"])
    assert sum(edge["exact"] is not None for edge in graph["edges"].values()) <= 10
    assert [one["title"].split(" (")[0] for one in inspector["links"]] == ["In, from", "Out, to"]


def test_an_edge_in_the_address_is_shown_with_its_estimate_and_exact_value() -> None:
    page = one_view("circuit", edge_chosen="embed>L0H0.v")
    inspector, scored = workbench(page)["inspector"], workbench(page)["graph"]["edges"]
    edge = next(one for one in scored.values() if one["id"] == "embed>L0H0.v")
    facts = dict(inspector["facts"])
    assert inspector["title"] == "Embedding → values of head 0 of layer 0"
    assert facts["feeds"] == "values of head 0 of layer 0: what it reads there"
    assert facts["exact"] == f"{edge['exact']:+.3g}".replace("-", "−")
    assert facts["estimate"] == f"{edge['score']:+.3g}".replace("-", "−")
    assert [one["rows"][0][0] for one in inspector["links"]] == ["embed", "L0H0"]


def test_a_head_says_where_it_looks_and_leads_there() -> None:
    inspector = workbench(one_view("circuit", edge_chosen="L3H1"))["inspector"]
    assert inspector["closer"] == [["attention", "Where it looks"]]
    assert any(what.startswith("in A looks from") for what, _ in inspector["facts"])
    assert "set to zero in A" in dict(inspector["facts"])


def test_a_node_of_another_model_gives_way_with_a_sentence() -> None:
    page = one_view("circuit", edge_chosen="L11H3")
    assert any("no 'L11H3'" in one.value for one in page.warning)
    assert workbench(page)["inspector"]["place"] == workbench(page)["graph"]["edges"]["0"]["sender"]


def test_progress_and_stop_are_there_at_once_and_what_is_done_is_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    note, go_on = vars(Job)["_on_progress"], Event()
    monkeypatch.setattr(
        Job, "_on_progress", lambda job, now: go_on.wait(SECONDS) and note(job, now)
    )
    # The prompts are the test's own: what another one has computed is not computed again.
    page = unopened_view(
        "circuit",
        clean="When Tom and Emma went to the park, Emma gave a ball to",
        corrupt="When Tom and Emma went to the park, Tom gave a ball to",
        answer=" Tom",
        wrong=" Emma",
    ).run()
    bench = workbench(page)
    assert (bench["state"], bench["progress"]["stoppable"]) == ("computing", True)
    assert "being scored" in bench["graph"]["waiting"]
    assert "Scoring all edges" in conclusion(page)
    page.session_state["jobs"][SLOTS[0]].stop()
    go_on.set()
    settled(page.run())
    assert "Stopped before the edges were scored" in conclusion(page)
    assert "No connection has a score" in workbench(page)["graph"]["waiting"]
    monkeypatch.setattr(
        Job, "_on_progress", lambda job, now: (now.done == 1 and job.stop()) or note(job, now)
    )
    settled(page.button(key="rest-edges job").click().run())
    assert "Stopped: what 30 edges keep is not measured" in conclusion(page)
    assert any("1 of 5 steps" in one.value for one in page.warning)
    assert len(workbench(page)["graph"]["near"]["ranks"]) == 30
    monkeypatch.setattr(Job, "_on_progress", note)
    settled(page.button(key="rest-edges job").click().run())
    assert "30 of 2,188 edges keep" in conclusion(page)


def test_pruning_sets_the_size_to_the_smallest_that_suffices() -> None:
    page = one_view("circuit", edges="64", edge_share="50")
    prune = page.button(key="prune")
    wanted = int(prune.label.split()[2].replace(",", ""))
    assert wanted < 64
    settled(prune.click().run())
    assert page.session_state["edges"] == wanted
    assert f"{wanted} of 2,188 edges keep" in conclusion(page)
    assert page.button(key="prune").disabled


def test_work_that_takes_too_long_says_so_and_keeps_what_is_done(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    note = vars(Job)["_on_progress"]

    def late(job: Job, now: Progress) -> bool:
        if now.done == 2:
            job.seconds = 0.0
        return bool(note(job, now))

    monkeypatch.setattr(Job, "_on_progress", late)
    page = one_view(
        "circuit",
        clean="When Anna and Mark went to the park, Mark gave a ball to",
        corrupt="When Anna and Mark went to the park, Anna gave a ball to",
        answer=" Anna",
        wrong=" Mark",
    )
    assert "seconds on this page" in words(page, "warning")
    assert "2 of 5 steps" in words(page, "warning")
    assert [one.key for one in page.button if str(one.key).startswith("rest-")] == []
    assert len(workbench(page)["graph"]["near"]["ranks"]) == 30


def test_of_another_size_only_that_size_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    measured: list[tuple[int, int]] = []
    note = vars(Job)["_on_progress"]
    monkeypatch.setattr(
        Job,
        "_on_progress",
        lambda job, now: measured.append((now.done, now.total)) or note(job, now),
    )
    page = one_view(
        "circuit",
        clean="When Tom and Sarah went to the park, Sarah gave a ball to",
        corrupt="When Tom and Sarah went to the park, Tom gave a ball to",
        answer=" Tom",
        wrong=" Sarah",
    )
    assert measured[-1] == (50, 50)
    page.session_state["edges"] = 11
    measured.clear()
    settled(page.run())
    assert measured[-1] == (5, 5)
    assert "11 of 2,188 edges keep" in conclusion(page)
    sizes = page.session_state["curve"].array("faithfulness")["size"].values.tolist()
    assert sizes == [1, 2, 4, 8, 11, 16, 32, 64, 128, 256]


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
    fields = session_state.example_fields(example("ioi"))
    pair = {name: str(fields[name]) for name in ("clean", "corrupt", "answer", "wrong")}
    page = one_view("circuit", **(pair | given))
    assert len(page.error) == 1
    assert says in page.error[0].value


def test_a_size_beyond_the_models_edges_becomes_all_of_them() -> None:
    page = one_view("circuit", edges="4096", edge_order="strongest", edge_estimate="gradient")
    graph = workbench(page)["graph"]
    assert (page.session_state["edges"], graph["size"]) == (2188, 2188)
    assert "2,188 of 2,188 edges keep 100 % of the gap" in conclusion(page)
    assert len(graph["near"]["ranks"]) == 100


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
        ("edge_chosen", "L3H1.z", "it may be a node"),
        ("edge_chosen", "logits>L3H1.q", "it may be a node"),
        ("edge_chosen", "<b>", "it may be a node"),
    ],
)
def test_a_wrong_address_is_refused_with_what_it_may_be(name: str, text: str, says: str) -> None:
    with pytest.raises(InputError, match=says):
        url_state.read_parameters("circuit", {name: text})


def test_the_address_holds_what_was_chosen() -> None:
    page: dict[object, object] = {}
    session_state.prepare(page)
    chosen = {
        "edges": 12,
        "edge_order": "strongest",
        "edge_estimate": "gradient",
        "edge_share": 70,
        "edge_chosen": "L2.mlp>L3H1.q",
    }
    read = url_state.read_parameters(
        "circuit", url_state.query_parameters("circuit", page | chosen)
    )
    assert {name: read[name] for name in chosen} == chosen


@pytest.fixture
def scored(model: pw.Model) -> pw.Result:
    return pw.edge_attribution(model, PAIR, exact=5, bos=False)


@pytest.fixture
def circuit(model: pw.Model, scored: pw.Result) -> pw.Circuit:
    return pw.Circuit.choose(scored, model, top=40)


def test_checked_edges_are_the_results_strongest_first(scored: pw.Result) -> None:
    frame, exact = checked_rows(scored), circuit_place.exact_effects(scored)
    assert len(frame) == len(exact) == 5
    sizes = frame["estimate"].abs().tolist()
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] == float(np.nanmax(np.abs(scored.array("edges").values)))
    for (sender, receiver), value in exact.items():
        at = {"sender": sender, "receiver": receiver}
        assert value == float(scored.array("exact").sel(at))
        row = frame[frame["edge"] == edge_name((sender, receiver))]
        assert row["exact"].item() == value
        assert row["difference"].item() == row["estimate"].item() - value
    drawn = estimates_chart(frame, "logit_diff").to_dict()
    assert len(drawn["layer"]) == 2


def test_edges_are_listed_with_exact_values_beside_estimates(
    scored: pw.Result, circuit: pw.Circuit
) -> None:
    rows, exact = edge_rows(circuit, 12, scored), circuit_place.exact_effects(scored)
    assert rows.index.tolist() == list(range(1, 13))
    assert rows["estimate"].tolist() == list(circuit.scores[:12])
    known = rows["exact"].dropna().tolist()
    assert known == [exact[edge] for edge in circuit.edges[:12] if edge in exact]
    assert len(known) == 5


def test_the_curve_draws_every_measured_circuit_once(model: pw.Model, circuit: pw.Circuit) -> None:
    found = pw.evaluate_circuit(model, PAIR, circuit, [0, 1, 8, 40], n_random=2, bos=False)
    rows = curve_rows(found)
    # No place on a logarithmic axis for size 0.
    assert len(rows) == 3 * (2 + 2)
    one = rows[(rows["runs"] == "all but it") & (rows["edges"] == 8)]
    assert one["share"].item() == float(found.array("complement").sel(size=8))
    assert len(circuit_curve(found, 8).to_dict()["layer"]) == 4
    assert f"circuit {100 * found.details['area']:.0f} %" in curve_help(found)


def test_nothing_is_drawn_for_what_was_stopped(model: pw.Model, circuit: pw.Circuit) -> None:
    found = pw.evaluate_circuit(
        model, PAIR, circuit, [1, 8], n_random=1, bos=False, progress=lambda now: now.done < 3
    )
    assert curve_rows(found)["edges"].tolist() == [1, 1, 1]


def test_the_strongest_edges_are_those_drawn(circuit: pw.Circuit) -> None:
    ranks = circuit_place.strongest_ranks(circuit, 20, 6)
    assert ranks == sorted(ranks)
    assert len(ranks) == 6
    left_out = [abs(circuit.scores[i]) for i in range(20) if i not in ranks]
    assert min(abs(circuit.scores[i]) for i in ranks) >= max(left_out)


def test_an_edge_that_is_not_kept_says_which_one_it_is(
    model: pw.Model, scored: pw.Result, circuit: pw.Circuit
) -> None:
    swept = pw.Patch(model="tiny", pairs=PAIR, bos=False)

    def facts(chosen: str, size: int) -> dict[str, str]:
        return dict(
            circuit_place.inspector_data(chosen, circuit, size, scored, swept, model)["facts"]
        )

    tenth = circuit_place.edge_id(circuit.edges[9])
    assert facts(tenth, 9)["in the circuit"] == "not kept: it is number 10"
    assert facts(tenth, 10)["in the circuit"] == "number 10 of 10"
    assert facts(tenth, 9)["exact"] == "not measured: only the 5 strongest are"
    left_out = next(edge for edge in Graph(model.spec).edges if edge not in circuit.edges)
    said = facts(circuit_place.edge_id(left_out), 9)
    assert said["in the circuit"] == "not among the edges that could be chosen"


def test_nodes_and_edges_are_those_of_the_model(model: pw.Model) -> None:
    for there in ("embed", "logits", "L0H1", "L2.mlp", "embed>L0H1.q", "L0.mlp>logits"):
        assert circuit_place.is_in_model(there, model)
    for not_there in ("L9H0", "L0H1>embed", "L2.mlp>L1H0.q", "L0H1>L0H1.q", ""):
        assert not circuit_place.is_in_model(not_there, model)


def test_what_a_receiver_is_fed_for_is_said_in_words() -> None:
    assert circuit_place.receiver_purpose("logits") == "the answer directly"
    assert circuit_place.receiver_purpose("L2.mlp") == "MLP 2"
    assert (
        circuit_place.receiver_purpose("L3H1.q")
        == "queries of head 1 of layer 3: what it looks for"
    )


def test_a_node_in_its_layers_band_says_what_it_is() -> None:
    labels = [circuit_place.node_label(one) for one in ("embed", "L3H1", "L2.mlp", "logits")]
    assert labels == ["embedding", "head 1", "MLP 2", "logits"]


CODE = re.compile(r"L\d+(H\d+|\.mlp)")


def test_the_page_names_nodes_and_edges_in_words(scored: pw.Result, circuit: pw.Circuit) -> None:
    """Code words stand in ids alone, of which the browser makes tips and addresses."""
    page = one_view("circuit", edge_chosen="L3H1")
    bench = workbench(page)
    graph, inspector = bench["graph"], bench["inspector"]
    said = [
        *graph["names"].values(),
        *graph["labels"].values(),
        *(edge["name"] for edge in graph["edges"].values()),
        *(text for key, text in inspector.items() if key in ("title", "sentence")),
        *(text for fact in inspector["facts"] for text in fact),
        *(label for links in inspector["links"] for _, label, _ in links["rows"]),
        words(page),
        conclusion(page),
        *checked_rows(scored)["edge"],
        *edge_rows(circuit, 12, scored)["edge"],
    ]
    assert [text for text in said if CODE.search(text)] == []
    assert "MLP 0 → queries of head 1 of layer 3" in said
    sources = [label for _, label, _ in inspector["links"][0]["rows"]]
    assert "MLP 0 to its queries" in sources
