import ast
import json
import os
import subprocess
import sys
from csv import DictReader, reader
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import nbformat
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nbclient import NotebookClient
from pydantic import ValidationError
from transformers import AutoTokenizer, GPT2LMHeadModel

import patchwright as pw
from checkpoints import save_tiny
from command import patchwright
from handmade_results import baseline, made
from patchwright.algorithms.statistics import statistics
from patchwright.errors import InputError, PatchwrightError
from patchwright.methods import METHODS
from patchwright.storage.export import csv_text, frame_text, notebook_text, script_text
from patchwright.storage.store import Store
from timeouts import SECONDS
from tiny import pair_of

ROOT = Path(__file__).parents[2]
MARY = pw.Pair(
    clean="When Mary and John went to the store, John gave a drink to",
    corrupt="When Mary and John went to the store, Mary gave a drink to",
    answer=" Mary",
    wrong=" John",
)
ALICE = pw.Pair(
    clean="When Alice and David went to the garden, David gave a book to",
    corrupt="When Alice and David went to the garden, Emma gave a book to",
    answer=[" Alice", " Emma"],
    wrong=[" David", " John"],
)
IDS = pair_of([1, 2, 3, 4], [1, 5, 3, 4])
UNEQUAL = pw.Pair(
    clean="The capital of Madagascar is",
    corrupt="The capital of France is",
    answer=" Antananarivo",
    wrong=" Paris",
    align="edges",
)
TEXT = "\"\"\" ''' \\ {x}\n\u202e</script>"
MALICE = pw.Pair(clean=f"{TEXT} red", corrupt=f"{TEXT} blue", answer=" Mary", wrong=" John")
RUN_ALL = """
import os, runpy, sys
for folder in sys.argv[1:]:
    os.chdir(folder)
    runpy.run_path("rerun.py", run_name="__main__")
"""


def results_of(model: pw.Model) -> dict[str, pw.Result]:
    """One result a method and more, which differ from their defaults here and there."""
    scored = pw.edge_attribution(model, [MARY, ALICE], steps=2, metric="prob_diff")
    circuit = pw.Circuit.choose(scored, model, top=5)
    prompts = ["When Mary and John went to the park,", [5, 6, 7]]
    lens = pw.LogitLens(model=model.name, pairs=MARY, places=("L1.mlp_out@-1",), metric="kl")
    return {
        "patch": pw.patch(model, MARY),
        "patch_many": pw.patch(
            model, [MARY, ALICE], "z", "head_position", "noise", layers=[0, 2], heads=[1, 0]
        ),
        "patch_ids": pw.patch(model, IDS, "mlp_act", layers=[1], positions=[-1, 1], bos=False),
        "patch_hostile": pw.patch(model, MALICE, layers=[0]),
        "patch_unequal": pw.patch(model, UNEQUAL, metric="logprob_diff"),
        "patch_first": pw.patch(model, MARY, "z", order="attribution", max_exact=3),
        "patch_one_in_list": pw.patch(model, [MARY], metric="kl", layers=[1]),
        "patch_together": pw.patch_together(model, ALICE, ["L2H1.z@-1", "L0.mlp_out"], "noise"),
        "ablate_mean": pw.ablate(
            model, MARY, ablation="mean", prompts=prompts, by_position=False, layers=[1]
        ),
        "ablate": pw.ablate(model, MARY, "mlp_out", "layer"),
        "ablate_together": pw.ablate_together(
            model,
            ALICE,
            ["L2H1.z@-1", "L0.mlp_out"],
            "resample",
            [ALICE.clean, ALICE.corrupt],
            seed=4,
        ),
        "attribute": pw.attribute(
            model, MARY, "q", estimator="integrated", steps=3, exact=True, layers=[0, 1]
        ),
        "path_patch": pw.path_patch(
            model, MARY, ["L2H1.q", "L2H0.k"], direction="denoise", mlps="freeze"
        ),
        "edge_attribution": scored,
        "evaluate_circuit": pw.evaluate_circuit(model, MARY, circuit, sizes=[1, 5], n_random=2),
        "trace": pw.trace(model, MARY.clean, "Mary and John", " Mary", samples=2, window=2, seed=3),
        "trace_ids": pw.trace(
            model, [3, 4, 5], [0, -1], [7, 8], 9, samples=2, sever="mlp_out", metric="logit_diff"
        ),
        "difference": pw.difference(model, [MARY, ALICE], "z", "head_position"),
        "attention": pw.attention(model, MARY, 1, 2, bos=False),
        "head_scores": pw.head_scores(model, IDS, length=7, repeats=2, seed=5),
        "logit_lens": pw.logit_lens(model, MARY, ["L1H0.z@-1"], "noise"),
        "logit_lens_of_another_metric": pw.run(lens, model),
        "logit_attribution": pw.logit_attribution(model, ALICE, "position"),
    }


NAMES = """patch patch_many patch_hostile patch_ids patch_unequal patch_first patch_one_in_list patch_together
ablate_mean ablate ablate_together attribute path_patch edge_attribution evaluate_circuit trace trace_ids difference
attention head_scores logit_lens logit_lens_of_another_metric logit_attribution""".split()


def document_of(result: pw.Result) -> dict[str, Any]:
    """All that a result says but how long it took."""
    return {name: part for name, part in result.document().items() if name != "seconds"}


def write(folder: Path, script: str) -> None:
    """Keep a script as a download would: in UTF-8."""
    (folder / "rerun.py").write_bytes(script.encode("utf-8"))


def python(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Python in a process of its own, with warnings as errors; never raises."""
    quiet = {"OMP_NUM_THREADS": "1", "PYTHONIOENCODING": "utf-8", "PYTHONWARNINGS": "error"}
    path = os.pathsep.join([str(ROOT / "src"), os.environ.get("PYTHONPATH", "")])
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=cwd,
        env=os.environ | quiet | {"PYTHONPATH": path},
        capture_output=True,
        encoding="utf-8",
        timeout=SECONDS,
        check=False,
    )


@pytest.fixture(scope="module")
def originals(demo: pw.Model) -> dict[str, pw.Result]:
    return results_of(demo)


@pytest.fixture(scope="module")
def folders(
    originals: dict[str, pw.Result], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Path]:
    """Where each result's script was run, all in one other process."""
    folders = {name: tmp_path_factory.mktemp(name) for name in originals}
    for name, folder in folders.items():
        write(folder, script_text(originals[name]))
    done = python("-c", RUN_ALL, *map(str, folders.values()), cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert "another model" not in done.stdout
    return folders


@pytest.mark.parametrize("name", NAMES)
def test_the_script_of_every_method_gives_back_every_number(
    originals: dict[str, pw.Result], folders: dict[str, Path], name: str
) -> None:
    again = pw.load_result(folders[name] / "result.json")
    assert document_of(again) == document_of(originals[name])
    assert (folders[name] / "figure.png").read_bytes().startswith(b"\x89PNG")


def test_every_method_is_among_those_results(originals: dict[str, pw.Result]) -> None:
    assert {result.method for result in originals.values()} == set(METHODS)
    assert set(NAMES) == set(originals)


def test_arguments_that_are_the_defaults_are_left_out(originals: dict[str, pw.Result]) -> None:
    calls = {name: script_text(originals[name]) for name in ("patch", "ablate", "patch_many")}
    assert "\nresult = pw.patch(model, pair)\n" in calls["patch"]
    assert '\nresult = pw.ablate(model, pair, site="mlp_out", per="layer")\n' in calls["ablate"]
    assert 'pw.load_model("demo", device="cpu")' in calls["patch"]
    assert "result = pw.patch(\n    model,\n    pairs,\n" in calls["patch_many"]


def test_a_script_for_a_folder_runs_alone_and_says_which_folder(tmp_path: Path) -> None:
    folder = save_tiny(tmp_path / 'it\'s a "folder"')
    model = pw.load_model(str(folder), dtype="float64")
    result = pw.patch(model, MARY, "v")
    text = script_text(result)
    assert "put the path of your copy here" in text
    write(tmp_path, text)
    done = python("rerun.py", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert document_of(pw.load_result(tmp_path / "result.json")) == document_of(result)


def test_on_another_model_the_script_warns_and_goes_on(tmp_path: Path) -> None:
    folder = save_tiny(tmp_path / "model")
    result = pw.patch(pw.load_model(str(folder)), MARY)
    GPT2LMHeadModel.from_pretrained(save_tiny(tmp_path / "other", n_layer=2)).save_pretrained(
        folder
    )
    write(tmp_path, script_text(result))
    done = python("rerun.py", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "Warning: this is another model" in done.stdout


def test_a_wrapped_model_has_a_line_to_fill_in(tmp_path: Path) -> None:
    folder = save_tiny(tmp_path / "saved")
    hf_model = GPT2LMHeadModel.from_pretrained(folder)
    name = "my 'model'\nimport os"
    blank = '"./PUT-THE-FOLDER-OF-THE-MODEL-HERE"'
    results = {
        "tokenizer": pw.patch(
            pw.wrap_model(hf_model, AutoTokenizer.from_pretrained(folder), name), MARY
        ),
        "ids": pw.patch(pw.wrap_model(hf_model, None, name), IDS),
    }
    for case, result in results.items():
        (tmp_path / case).mkdir()
        text = script_text(result)
        assert "in memory already" in text
        write(tmp_path / case, text.replace(blank, repr(str(folder))))
    done = python("-c", RUN_ALL, *(str(tmp_path / case) for case in results), cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert "another model" not in done.stdout
    for case, result in results.items():
        assert document_of(pw.load_result(tmp_path / case / "result.json")) == document_of(result)


def test_the_notebook_is_valid_runs_and_shows_the_figure(
    originals: dict[str, pw.Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = originals["patch_many"]
    text = notebook_text(result)
    assert text == notebook_text(result)
    notebook = nbformat.reads(text, as_version=4)
    nbformat.validate(notebook)
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "src"))
    monkeypatch.setenv("JUPYTER_PLATFORM_DIRS", "1")
    NotebookClient(notebook, timeout=SECONDS, resources={"metadata": {"path": tmp_path}}).execute()
    assert document_of(pw.load_result(tmp_path / "result.json")) == document_of(result)
    outputs = [one for cell in notebook.cells if cell.cell_type == "code" for one in cell.outputs]
    assert [one for one in outputs if "image/png" in one.get("data", {})]
    assert {cell.cell_type for cell in notebook.cells} == {"markdown", "code"}
    assert not [one for one in outputs if one.output_type == "error"]


HOSTILE = [
    "'''", '"""', "' + __import__('os').system('true') + '", "\\", "\\'", "\n# x\nimport os", "{x}",
    "{{", "%s", "\u202eright to left\u2066", "\x00", "\x85\u2028", "\r", "</script>", "$", "\\N{DASH}",
    "emoji 🙂 and ü", "\ud800", "\\ud800", "#", ")", "f'{1/0}'", "\x1b[2J",
]  # fmt: skip


def pair_in(text: str) -> pw.Pair:
    """The pair that a script defines, without running anything of it."""
    named = {
        node.targets[0].id: node.value
        for node in ast.parse(text).body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
    }
    call = named["pair"]
    assert isinstance(call, ast.Call)
    return pw.Pair(**{str(part.arg): ast.literal_eval(part.value) for part in call.keywords})


def code_of(notebook: str) -> str:
    cells = json.loads(notebook)["cells"]
    return "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")


def check_is_data(plain: pw.Result, clean: str, corrupt: str, answer: str) -> None:
    """What was typed changes nothing but literals, and is in the script as it was typed."""
    try:
        pair = pw.Pair(clean=clean, corrupt=corrupt, answer=answer)
    except ValidationError:
        return  # a lone surrogate is refused by the Pair itself
    experiment = {**plain.experiment, "pairs": pair.model_dump(mode="json")}
    hostile = replace(plain, experiment=experiment, model={**plain.model, "name": clean})
    for text in (script_text(hostile), code_of(notebook_text(hostile))):
        text.encode("utf-8")
        assert pair_in(text) == pair
    assert shape_of(script_text(hostile)) == shape_of(script_text(plain))


def shape_of(text: str) -> list[str]:
    """A script's syntax without its strings."""
    return [type(node).__name__ for node in ast.walk(ast.parse(text))]


@pytest.fixture(scope="module")
def plain(demo: pw.Model) -> pw.Result:
    return pw.patch(demo, pw.Pair(clean="a", corrupt="b", answer="c"), metric="logit", layers=[0])


@pytest.mark.parametrize("text", HOSTILE)
def test_a_hostile_prompt_stays_a_string(plain: pw.Result, text: str) -> None:
    check_is_data(plain, text, text + "x", text)


@given(texts=st.tuples(*[st.text(st.characters(codec=None), min_size=1)] * 3))
def test_any_text_stays_a_string(plain: pw.Result, texts: tuple[str, str, str]) -> None:
    check_is_data(plain, *texts)


def test_a_result_that_is_not_whole_is_refused(plain: pw.Result) -> None:
    with pytest.raises(InputError, match=r"'os.system'.*does not match any of the expected tags"):
        script_text(replace(plain, method="os.system"))
    with pytest.raises(PatchwrightError, match="field 'site'"):
        script_text(replace(plain, experiment={**plain.experiment, "site": "x); import os"}))


def test_a_stopped_result_says_that_its_script_goes_to_the_end(demo: pw.Model) -> None:
    whole = pw.patch(demo, MARY, "z", "head_position")
    stopped = pw.patch(demo, MARY, "z", "head_position", progress=lambda _: False)
    assert [one["code"] for one in stopped.warnings] == ["stopped"]
    assert "was stopped before its end" in " ".join(script_text(stopped).split("\n# "))
    assert "was stopped" not in script_text(whole)


def test_csv_gives_back_every_number_exactly(model: pw.Model) -> None:
    result = pw.patch(model, pair_of([1, 2, 3, 4], [1, 5, 3, 4]), "v", "head_position")
    table = list(DictReader(StringIO(csv_text(result))))
    assert [float(row["patched"]) for row in table] == result.patched.values.ravel().tolist()
    assert [float(row["effect"]) for row in table] == result.effect.values.ravel().tolist()
    assert [row["place"] for row in table[:2]] == ["L0H0.v@0", "L0H0.v@1"]


CELLS = st.one_of(
    st.text(max_size=8),
    st.builds(
        str.__add__, st.sampled_from(["=", "+", "-", "@", "\t", "\r", "\n"]), st.text(max_size=5)
    ),
)


@given(
    texts=st.lists(CELLS, min_size=1, max_size=6),
    numbers=st.lists(st.floats(allow_nan=False), min_size=6, max_size=6),
)
def test_no_text_in_a_csv_is_a_formula_and_numbers_stay_numbers(
    texts: list[str], numbers: list[float]
) -> None:
    frame = pd.DataFrame({"token": texts, "effect": numbers[: len(texts)]})
    written = frame_text(frame).encode("utf-8")
    assert written.startswith(b"\xef\xbb\xbf") == (not written.isascii())
    rows = list(reader(StringIO(written.decode("utf-8-sig"), newline="")))
    assert rows[0] == ["token", "effect"]
    for (token, number), text, exact in zip(rows[1:], texts, numbers, strict=False):
        assert token in (text, f"'{text}")
        assert not token.startswith(("=", "+", "-", "@", "\t", "\r", "\n"))
        assert float(number) == exact
    assert len(rows) == 1 + len(texts)


def test_every_csv_of_a_result_is_the_same_text(demo: pw.Model, tmp_path: Path, home: Path) -> None:
    pair = pw.Pair(clean="=1+1 and é red", corrupt="=1+1 and é blue", answer=" Mary", wrong=" John")
    result = pw.patch(demo, pair, layers=[0])
    run = Store().save(result)
    text = csv_text(result)
    assert text.startswith("place,") == text.isascii()
    assert ",'=" in text
    done = patchwright("runs", "show", run, "--csv", str(tmp_path / "cells.csv"))
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "cells.csv").read_bytes() == text.encode("utf-8")
    assert patchwright("runs", "show", run, "--csv", "-").stdout == text


def test_a_csv_says_in_every_row_what_it_is_about(model: pw.Model) -> None:
    pairs = [
        pair_of([1, 2, 3, 4], [1, 5, 3, 4]),
        pair_of([6, 2, 3, 4], [8, 5, 3, 4]),
    ]
    result = pw.patch(model, pairs, "z")
    rows = list(DictReader(StringIO(csv_text(result))))
    assert {row["model"] for row in rows} == {model.name}
    assert {row["metric"] for row in rows} == {"logit_diff"}
    for row in rows:
        number = int(row["pair"]) - 1
        assert row["clean_prompt"] == result.prompts("clean")[number] != ""
        assert row["corrupt_prompt"] == result.prompts("corrupt")[number]
    assert len({row["clean_prompt"] for row in rows}) == 2


def test_a_csv_has_the_notes_of_each_rows_pair(model: pw.Model) -> None:
    pairs = [pair_of([1, 2, 3, 4], [1, 5, 3, 4]), pair_of([6, 2, 3, 4], [8, 5, 3, 4])]
    notes: list[dict[str, Any]] = [
        {"id": 7, "condition": "=A1", "words": ["red", "é"]},
        {"condition": "two, lines\nof it"},
    ]
    result = pw.patch(model, pairs, "z")
    rows = list(DictReader(StringIO(csv_text(result, notes=notes).lstrip("\ufeff"), newline="")))
    assert {
        (row["pair"], row["note_id"], row["note_condition"], row["note_words"]) for row in rows
    } == {
        ("1", "7", "'=A1", '["red", "é"]'),
        ("2", "", "two, lines\nof it", ""),
    }
    over_pairs = csv_text(result, statistics(result).to_frame(), notes)
    assert "note_" not in over_pairs
    one = DictReader(StringIO(csv_text(pw.patch(model, pairs[:1], "z"), notes=notes[1:])))
    assert {row["note_condition"] for row in one} == {"two, lines\nof it"}


def test_the_prompts_of_a_csv_are_no_formulas(demo: pw.Model) -> None:
    pair = pw.Pair(clean="=1+1 and red", corrupt="@SUM(1) blue", answer=" Mary", align="edges")
    result = pw.patch(demo, pair, layers=[0], metric="logit")
    rows = list(DictReader(StringIO(csv_text(result))))
    assert {row["clean_prompt"] for row in rows} == {"'=1+1 and red"}
    assert {row["corrupt_prompt"] for row in rows} == {"'@SUM(1) blue"}


def test_a_table_over_pairs_has_their_number() -> None:
    many: dict[str, Any] = {"pairs": [baseline(4.0)] * 12}
    result = made(
        [[[i / 12, 0.0]] for i in range(12)],
        clean=baseline(4.0, **many),
        corrupt=baseline(-4.0, **many),
        tokens=([[f"a{i}", "b"] for i in range(12)], [[f"a{i}", "c"] for i in range(12)]),
        pairs=[{"clean": f"a{i}", "corrupt": "b", "answer": [" x"]} for i in range(12)],
    )
    rows = list(DictReader(StringIO(csv_text(result, statistics(result).to_frame()))))
    assert {row["clean_prompt"] for row in rows} == {"12 pairs"}
