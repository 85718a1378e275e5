"""A caption says what a figure shows, and in LaTeX nothing that was typed is a command."""

import re
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import patchwright as pw
from handmade_results import baseline, made
from patchwright.algorithms.statistics import statistics
from patchwright.errors import InputError
from patchwright.figures.captions import FINGERPRINT_DIGITS, escape_latex
from patchwright.figures.matplotlib_figures import circuit_drawing, drawing_of, drawings_of
from patchwright.figures.style import DEFAULT_STYLE
from tiny import pair_of

PAIR = pw.Pair(
    clean="When Mary and John went to the store, John gave a drink to",
    corrupt="When Mary and John went to the store, Mary gave a drink to",
    answer=" Mary",
    wrong=" John",
)
_COMMANDS = re.compile(
    r"\\textbackslash\{\}|\\textasciitilde\{\}|\\textasciicircum\{\}|\\textasciigrave\{\}"
    r"|\\textless\{\}|\\textgreater\{\}|\\textbar\{\}|\\textperiodcentered\{\}|\\ldots\{\}"
    r"|\$-\$|\$\\(?:rightarrow|times|hookleftarrow|sigma)\$|\\[{}$&#%_]|\{\}"
)


def read(text: str) -> str:
    """`text` as LaTeX sets it: what is left once all escapes are taken out must be no command."""
    return _COMMANDS.sub("", text)


@given(text=st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=60))
@example(text=r"\input{secret} 100 % of $5 & #1 _x_ {y} ~ ^ <|endoftext|> -- ---- ``''' \\ \% ")
def test_no_character_of_a_prompt_is_a_command_in_latex(text: str) -> None:
    left = read(escape_latex(text))
    assert not set(left) & set("\\{}$&#%_~^<>|")
    assert "--" not in escape_latex(text)
    plain = [one for one in text if one not in '\\{}$&#%_~^<>|`“”"−→×·…↵σ\0']
    kept = [one for one in left.replace("``", "").replace('"', "") if one in set(plain)]
    assert "".join(kept).replace("'", "") == "".join(plain).replace("'", "")


def test_a_caption_names_what_a_reader_has_to_know(demo: pw.Model) -> None:
    text = pw.patch(demo, PAIR).caption()
    assert text.startswith(
        "Share of the logit difference restored by copying the residual stream entering a layer from "
        "the clean run. Each cell is one position in one layer. "
    )
    mark = demo.fingerprint.removeprefix("sha256:")
    assert f"Model: demo (fingerprint {mark[:FINGERPRINT_DIGITS]})." in text
    assert f"Clean prompt: “{PAIR.clean}”, answer “Mary”." in text
    assert f"Corrupted prompt: “{PAIR.corrupt}”, answer “John”." in text
    assert "Metric: logit difference, 11.1 in the clean run, −11.1 in the corrupted run" in text
    assert "(denoising)" in text
    assert "Where the prompts differ, labels are clean→corrupted." in text


def test_a_latex_caption_is_ready_to_be_pasted(demo: pw.Model) -> None:
    pair = PAIR.model_copy(update={"clean": f"100% of $5_{PAIR.clean}", "align": "edges"})
    text = pw.patch(demo, pair, layers=[0]).caption("latex")
    assert text.startswith(r"\caption{Share of the logit difference")
    assert text.endswith("}")
    assert r"``100\% of \$5\_When Mary" in text
    assert text.count("{") == text.count("}")


def test_a_direction_is_named(demo: pw.Model) -> None:
    text = pw.patch(demo, PAIR, direction="noise").caption()
    assert text.startswith("Share of the logit difference lost by copying")
    assert "from the corrupted run" in text
    assert "(noising)" in text


def test_over_pairs_their_number_and_the_circles_are_named() -> None:
    many: dict[str, Any] = {"pairs": [baseline(4.0)] * 12}
    result = made(
        [[[i / 12, 0.0]] for i in range(12)],
        clean=baseline(4.0, **many),
        corrupt=baseline(-4.0, **many),
        tokens=([[f"a{i}", "b"] for i in range(12)], [[f"a{i}", "c"] for i in range(12)]),
        pairs=[{"clean": f"a{i}", "corrupt": "b", "answer": [" x"]} for i in range(12)],
    )
    text = statistics(result).on(result).caption()
    assert "Means over 12 pairs of prompts, the first of them: clean prompt: “a0”" in text
    assert "Open circle: does not differ from zero over 12 pairs" in text


def test_how_a_model_ran_is_named_where_it_is_not_the_usual_way() -> None:
    usual = made([[0.5]]).caption()
    assert "quantised" not in usual
    assert "float" not in usual
    other = made([[0.5]])
    model = other.model | {"dtype": "bfloat16", "quantization": "Q4_1", "revision": "abc"}
    text = replace(other, model=model).caption()
    assert "revision abc, weights quantised (Q4_1), run in bfloat16" in text


def test_a_folder_is_named_without_its_path() -> None:
    result = made([[0.5]])
    folder = result.model | {"name": "/home/somebody/models/mine", "source": "folder"}
    text = replace(result, model=folder).caption()
    assert "Model: mine (" in text
    assert "somebody" not in text


def test_estimates_are_counted() -> None:
    text = made([[0.5, 0.1, 0.2]], estimated=[[1, 0, 1]]).caption()
    assert "2 of 3 cells are estimates." in text


def test_a_trace_is_described_by_its_noise(demo: pw.Model) -> None:
    prompt = "The Eiffel Tower is in the city of"
    traced = pw.trace(demo, prompt, "Eiffel Tower", " Paris", samples=2, window=3)
    asked = traced.asked
    assert isinstance(asked, pw.Trace)
    other = pw.run(asked.for_site("mlp_out"), demo)
    text = traced.caption(beside=[other])
    assert "restored by activations of the clean run, after noise on “Eiffel Tower”." in text
    assert (
        "Noise of 3 standard deviations of the subject's embeddings, mean of 2 samples; 3 layers"
        in text
    )
    assert f"Prompt: “{prompt}”, answer “Paris”." in text
    assert "in the noisy runs" in text


def test_drawings_have_their_captions(model: pw.Model) -> None:
    pair = pair_of([1, 2, 3, 4, 2], [1, 5, 3, 4, 2])
    scored = pw.edge_attribution(model, pair)
    circuit = pw.Circuit.choose(scored, model, top=3)
    graph = circuit_drawing(circuit.edges, circuit.scores, scored)
    assert graph.caption("text").startswith("The circuit's 3 edges; wider lines")
    assert drawing_of(scored).caption("text") == scored.caption()
    lens = {one.name: one for one in drawings_of(pw.logit_lens(model, pair))}
    assert list(lens) == ["Map", "By layer"]
    assert lens["By layer"].caption("text").startswith("Logit difference as each layer's output")
    exact = drawings_of(pw.compare_with_exact(model, pair, "z"))
    assert [one.name for one in exact] == ["Map", "Exact"]
    for one in [*lens.values(), *exact, graph]:
        assert one.file("pdf", DEFAULT_STYLE)[0].startswith(b"%PDF")


def test_every_method_has_a_caption_without_code_words(demo: pw.Model) -> None:
    results = [
        pw.patch(demo, PAIR, "z"),
        pw.ablate(demo, PAIR),
        pw.attribute(demo, PAIR),
        pw.path_patch(demo, PAIR),
        pw.logit_lens(demo, PAIR),
        pw.logit_attribution(demo, PAIR),
        pw.difference(demo, PAIR),
        pw.attention(demo, PAIR, 0, 0),
        pw.head_scores(demo, PAIR),
        pw.edge_attribution(demo, PAIR),
    ]
    for result in results:
        text = result.caption()
        assert not re.search(r"[a-z]+_[a-z]+", text), text
        assert text.count(". ") >= 3


def test_another_format_is_refused() -> None:
    with pytest.raises(InputError, match="A caption is no 'html': choose text or latex"):
        made([[0.5]]).caption("html")
