"""The command line: exit status, streams, files, and what wrong input gets."""

import itertools
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

import patchwright as pw
from chat_server import ChatServer
from checkpoints import save_tiny
from command import IOI, patchwright, process
from patchwright.algorithms import batches
from patchwright.cli import make_app
from patchwright.cli.full import app
from patchwright.cli.options import bos_or_default
from patchwright.insights.llm import KEY, MODEL, URL
from patchwright.lessons import LESSON_MODELS, built_in_lessons
from patchwright.methods import METHODS
from pdf_text import sizes_of
from timeouts import SECONDS

LONG = "the " * 80
EIFFEL = [
    *("--prompt", "The Eiffel Tower is in", "--subject", "Eiffel Tower"),
    *("--answer", " Paris", "--samples", "10"),
]


def one_line(text: str) -> str:
    """Without the line ends, which depend on the width of a terminal."""
    return " ".join(text.split())


def test_without_outputs_the_result_is_shown() -> None:
    done = process("patch", *IOI)
    assert done.returncode == 0, done.stderr
    title = "Share of the logit difference restored by copying the residual stream entering a layer"
    assert title in one_line(done.stdout)
    assert "Strongest places" in done.stdout
    assert done.stderr == ""


def test_json_on_standard_output_is_nothing_but_the_result(tmp_path: Path) -> None:
    done = patchwright("patch", "--model", "demo", *IOI, "--site", "z", "--json", "-")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert (document["method"], document["dims"]) == ("patch", ["layer", "head"])
    (tmp_path / "result.json").write_text(done.stdout, encoding="utf-8")
    assert pw.load_result(tmp_path / "result.json").patched.shape == (6, 6)


def test_every_output_at_once(tmp_path: Path) -> None:
    done = patchwright(
        *("patch", "--example", "color", "--site", "z", "--per", "head_position"),
        *("--layers", "0-1,4", "--heads", "2", "--positions", "3,-1", "--direction", "noise"),
        *("--json", "out.json", "--csv", "out.csv", "--plot", "out.svg"),
        cwd=tmp_path,
    )
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    assert {path.name for path in tmp_path.iterdir()} == {"out.json", "out.csv", "out.svg"}
    result = pw.load_result(tmp_path / "out.json")
    assert result.patched.shape == (3, 1, 2)
    assert (tmp_path / "out.csv").read_text(encoding="utf-8").count("\n") == 1 + 6


def test_places_together_and_an_examples_own_metric() -> None:
    together = patchwright("patch", *IOI, "--place", "L0.attn_out@-1", "--place", "L2H1.z")
    assert "L0.attn_out@-1, L2H1.z copied together from the clean run" in together.stdout
    years = patchwright("patch", "--example", "greater-than", "--layers", "0", "--json", "-")
    assert json.loads(years.stdout)["experiment"]["metric"] == "prob_diff"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["places"], "L0-5H0-5.z"),
        (["tokens", "Mary went", "Mary saw"], "<- differs"),
        (["models"], "gpt2-xl"),
        (["examples"], "belief-or-truth"),
        (["verify"], "figures agree within"),
        (["bench", "--tokens", "4", "--repeat", "1"], "z per head_position"),
        (
            ["trace", *EIFFEL],
            "restored by the residual stream leaving a layer of the clean run, after noise on “Eiffel "
            "Tower”\nNoise of 3 standard deviations of the subject's embeddings, mean of 10 samples; "
            "one layer restored at a time.",
        ),
        (["trace", *EIFFEL[:2], "--subject-positions", "1-2", *EIFFEL[4:]], "·Eiffel"),
        (["trace", "--example", "capital", "--samples", "2"], "after noise on “France”"),
        (["trace", "--example", "capital", "--subject", "capital", "--samples", "2"], "“capital”"),
        (
            ["ablate", "--example", "ioi", "--ablation", "mean", "--prompt", IOI[3]],
            "lost by replacing a head's output before the output projection by the mean over other",
        ),
        (
            ["ablate", "--example", "ioi", "--place", "L3H1.z", "--place", "L0.mlp_out@-1"],
            "Setting L3H1.z, L0.mlp_out@-1 to zero together",
        ),
        (["attribute", "--example", "ioi", "--site", "z", "--exact"], "from one gradient."),
        (["paths", "--example", "ioi", "--receiver", "L3H1.q"], "along the paths to L3H1.q"),
        (["patch", "--example", "ioi", "--site", "z", "--max-exact", "5"], "Warning (estimate)"),
        (["circuit", "--example", "ioi", "--top", "30"], "What the circuit keeps"),
        (["explain", "--example", "ioi"], "The difference enters at position 10 (` John` in the"),
        (["explain", "--example", "capital-unequal"], "has 11 tokens and its corrupted prompt 6"),
        (["explain", "--example", "capital-many-tokens"], "The answer ` Reykjavik` has 99.0 %"),
        (["diff", "--example", "ioi"], "differ in the residual stream"),
        (["attention", "--example", "ioi"], "induction token"),
        (["attention", "--example", "ioi", "--head", "L0H0"], "What head 0 of layer 0 attends to"),
        (["lens", "--example", "ioi", "--place", "L0H0.z"], "patched"),
        (["lens", "--example", "ioi", "--direct", "layer"], "L0.mlp_out"),
        (["--help"], "patch"),
        (["patch", "--help"], "--direction"),
        (["app", "--help"], "--port"),
    ],
    ids=" ".join,
)
def test_each_command_does_its_work(arguments: list[str], says: str) -> None:
    done = patchwright(*arguments)
    assert done.returncode == 0, done.stderr
    assert one_line(says) in one_line(done.stdout)


def changed(option: str, value: str) -> list[str]:
    """The IOI arguments with one option's value replaced."""
    at = IOI.index(option) + 1
    return [*IOI[:at], value, *IOI[at + 1 :]]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "--clean is missing or empty"),
        (changed("--clean", ""), "--clean is missing or empty"),
        (changed("--corrupt", ""), "--corrupt is missing or empty"),
        (changed("--clean", LONG), "takes at most 64"),
        (["--clean", LONG + "b", "--corrupt", LONG + "a", *IOI[4:]], "takes at most 64"),
        (changed("--corrupt", IOI[1]), "are the same tokens"),
        (changed("--corrupt", "Mary gave a drink to"), "first differ at position 1"),
        (changed("--answer", ""), "answer is empty"),
        (changed("--answer", " John"), "both an answer and a wrong answer"),
        (IOI[:4], "No answer was given"),
        ([*IOI, "--site", "resid"], "'resid' is not a site"),
        ([*IOI, "--per", "token"], "'position', 'head', 'head_position'"),
        ([*IOI, "--per", "head"], "cannot be swept per head"),
        ([*IOI, "--metric", "accuracy"], "'logit_diff', 'logit'"),
        ([*IOI, "--direction", "up"], "denoise"),
        ([*IOI, "--layers", "6"], "layers 0-5"),
        ([*IOI, "--layers", "x"], "--layers 'x'"),
        ([*IOI, "--positions", "15"], "0-14"),
        ([*IOI, "--site", "z", "--heads", "6"], "heads 0-5"),
        ([*IOI, "--heads", "0"], "has no heads"),
        ([*IOI, "--site", "mlp_act", "--per", "neuron"], "needs layers"),
        ([*IOI, "--place", "L0H0.mlp_out"], "mlp_out"),
        ([*IOI, "--place", "nonsense"], "'nonsense' is not a site"),
        ([*IOI, "--align", "loose"], "choose exact or edges"),
        ([*IOI, "--example", "ioi"], "not both"),
        (["--example", "nothing"], "'nothing' is not an example"),
        ([*IOI, "--dtype", "int8"], "float32"),
        ([*IOI, "--device", "tpu"], "choose auto"),
        ([*IOI, "--json", "no/such/folder.json"], "there is no folder 'no/such'"),
        ([*IOI, "--plot", "figure.gif"], ".png, .svg or .pdf"),
        ([*IOI, "--plot", "figure.png", "--plot-width", "0.1"], "give 2.5 to 20"),
        ([*IOI, "--json", "-", "--csv", "-"], "Only one of"),
        ([*IOI, "--csv", "-", "--caption", "-"], "--json, --csv and --caption can go to standard"),
        ([*IOI, "--model", "./nowhere"], "there is no such folder"),
        ([*IOI, "--model", ""], "No model was named"),
        ([*IOI, "--sight", "z"], "--sight"),
        ([*IOI, "--metric", "rank", "--answer", " Reykjavik"], "several tokens"),
    ],
    ids=lambda value: value[:40] if isinstance(value, str) else "",
)
def test_wrong_input_gets_one_message_and_exit_status_2(
    tmp_path: Path, arguments: list[str], says: str
) -> None:
    done = patchwright("patch", *arguments, cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    assert done.stderr.startswith("Error: ")
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["trace", *EIFFEL[:2], *EIFFEL[4:]], "Name the subject"),
        (["trace", *EIFFEL, "--subject-positions", "1"], "Name the subject"),
        (["trace", *EIFFEL, "--noise", "0"], "--noise 0 changes nothing"),
        (["trace", *EIFFEL, "--window", "9"], "Choose 1-6"),
        (["trace", *EIFFEL, "--subject", "Rome"], "is not in the prompt"),
        (["trace", *EIFFEL[2:]], "prompt is empty"),
        (["trace", *EIFFEL, "--example", "capital"], "not both"),
        (["ablate", *IOI, "--ablation", "mean"], "needs reference prompts"),
        (["ablate", *IOI, "--place", "L9.z"], "layers 0-5"),
        (
            ["ablate", *IOI, "--place", "L0.z", "--ablation", "burn"],
            "'--ablation' / '--how': 'burn' is not one of",
        ),
        (["attribute", *IOI, "--scatter", "s.png"], "add --exact"),
        (["attribute", *IOI, "--estimator", "guess"], "'gradient', 'qk_fix', 'integrated'"),
        (["paths", *IOI, "--receiver", "L0H0.q"], "above its receivers"),
        (["circuit", *IOI, "--circuit", "none.json"], "cannot be read"),
        (["circuit", *IOI, "--sizes", "500"], "from 0 to 200"),
        (["circuit", *IOI, "--save", "no/such.json"], "there is no folder"),
        (["paths", *IOI, "--norms", "hold"], "'recompute', 'freeze'"),
        (["circuit", *IOI, "--outside", "zero"], "'corrupt', 'mean'"),
        (["explain", *IOI, "--example", "ioi"], "not both"),
        (["explain", *IOI, "--direction", "up"], "'denoise' or 'noise'"),
        (["explain", *IOI, "--json", "no/such/folder.json"], "there is no folder 'no/such'"),
        (["diff", *IOI, "--site", "mlp_out", "--per", "head"], "cannot be compared per head"),
        (["attention", *IOI, "--head", "L9H0"], "layers 0-5"),
        (["attention", *IOI, "--head", "9"], "--head '9': name one head"),
        (["lens", *IOI, "--direct", "token"], "'layer', 'head', 'position', 'neuron'"),
        (["lens", *IOI, "--direct", "head", "--graph", "g.png"], "leave out"),
        (["lens", *IOI, "--graph", "g.gif"], ".png, .svg or .pdf"),
        (["app", "--model", "/no/folder"], "is no name that the page can open on"),
        (["app", "--model", ""], "is no name that the page can open on"),
    ],
)
def test_each_method_refuses_what_it_cannot_do(
    tmp_path: Path, arguments: list[str], says: str
) -> None:
    done = patchwright(*arguments, cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_explain_lets_a_language_model_put_it_into_words_that_name_their_facts(
    tmp_path: Path,
) -> None:
    said = [
        {"text": "The runs are 22.18 logits apart.", "facts": [3]},
        {"text": "Copying L0.resid_pre@10 restores 73 %.", "facts": [5]},
    ]
    key = "sk-0123456789abcdefgh"
    with ChatServer(json.dumps({"sentences": said})) as chat:
        environment = {URL: chat.url, MODEL: "tiny", KEY: key}
        shown = patchwright("explain", *IOI, "--written", environment=environment)
        output = ("--written", "--json", "out.json")
        done = patchwright("explain", *IOI, *output, cwd=tmp_path, environment=environment)
        chat.status = 429
        refused = patchwright("explain", *IOI, "--written", environment=environment)
    assert shown.returncode == done.returncode == refused.returncode == 0, shown.stderr
    assert "The runs are 22.18 logits apart. [3]" in shown.stdout
    assert "1 sentences were struck out" in " ".join(shown.stdout.split())
    assert "73 %" not in shown.stdout
    document = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))
    kept = {"text": said[0]["text"], "facts": said[0]["facts"]}
    written = {"sentences": [kept], "rejected": 1, "struck": 1, "note": None}
    assert document["written"] == written
    assert "no more requests for now" in refused.stdout
    assert "What this shows" in refused.stdout
    assert key not in f"{shown} {done} {refused} {document}"
    unset = patchwright("explain", *IOI, "--written")
    assert unset.returncode == 2
    assert "set PATCHWRIGHT_EXPLAIN_URL" in unset.stderr


def test_explain_gives_numbered_steps_or_json_with_the_same_sentences(tmp_path: Path) -> None:
    shown = patchwright("explain", *IOI, "--direction", "noise")
    done = patchwright(
        *("explain", *IOI, "--direction", "noise", "--json", "out.json"), cwd=tmp_path
    )
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    document = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))
    assert document["experiment"]["direction"] == "noise"
    assert [one["code"] for one in document["steps"][:3]] == [
        *("predicts_clean", "predicts_corrupted", "gap"),
    ]
    assert "self_repair" in {one["code"] for one in document["cautions"]}
    words = " ".join(shown.stdout.split())
    for i, one in enumerate([*document["steps"], *document["cautions"]], 1):
        assert f"{i}. {one['text']}" in words


def test_a_circuit_is_saved_drawn_and_evaluated_again(tmp_path: Path) -> None:
    found = patchwright(
        *("circuit", "--example", "ioi", "--top", "20", "--connected", "--save", "c.json"),
        *("--graph", "c.svg", "--plot", "curve.png", "--json", "-"),
        cwd=tmp_path,
    )
    assert found.returncode == 0, found.stderr
    again = patchwright(
        "circuit", "--example", "ioi", "--circuit", "c.json", "--json", "-", cwd=tmp_path
    )
    one, other = json.loads(found.stdout), json.loads(again.stdout)
    assert one["arrays"] == other["arrays"]
    assert "logits" in (tmp_path / "c.svg").read_text(encoding="utf-8")
    other_model = save_tiny(tmp_path / "tiny")
    refused = patchwright(
        *("circuit", "--example", "ioi", "--circuit", "c.json", "--model", str(other_model)),
        cwd=tmp_path,
    )
    assert refused.returncode == 2
    assert "load the model that it belongs to" in refused.stderr


def test_bytes_that_are_not_utf8_are_refused() -> None:
    done = patchwright("patch", "--clean", b"caf\xe9 is", *IOI[2:])
    assert done.returncode == 2
    assert "not valid UTF-8" in done.stderr


@pytest.mark.parametrize(
    "text",
    ["emoji 🙂 and", "\u202eright to left", "a\x07bell", "tab\tand\nline", "[red]x[/red] $5"],
)
def test_any_characters_are_data_and_reach_no_terminal_raw(text: str) -> None:
    done = patchwright(
        *("patch", "--clean", f"{text} Mary", "--corrupt", f"{text} John", "--layers", "0"),
        *("--answer", " red", "--wrong", " blue"),
    )
    assert done.returncode == 0, done.stderr
    assert not any(sign in done.stdout for sign in "\u202e\x07\t")


def test_weights_without_numbers_are_not_the_users_fault(tmp_path: Path) -> None:
    import torch
    from safetensors.torch import load_file, save_file

    folder = save_tiny(tmp_path / "nan")
    weights = load_file(folder / "model.safetensors")
    weights = {name: torch.full_like(tensor, torch.nan) for name, tensor in weights.items()}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    done = patchwright("patch", *IOI, "--model", str(folder))
    assert done.returncode == 1
    assert done.stderr.startswith("Error: ")
    assert "Traceback" not in done.stderr


def test_verify_ends_with_1_where_a_figure_differs(tmp_path: Path) -> None:
    from patchwright.model.catalog import DEMO

    document = json.loads((DEMO / "demo-figures.json").read_text(encoding="utf-8"))
    document["clean"][0] += 1
    (tmp_path / "figures.json").write_text(json.dumps(document), encoding="utf-8")
    done = patchwright("verify", "--figures", str(tmp_path / "figures.json"))
    assert done.returncode == 1
    assert done.stdout.count("BAD") == 1


def test_a_reader_that_leaves_early_is_no_error() -> None:
    command = f"{sys.executable} -m patchwright.cli patch --example ioi --json - | head -c 10"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False)
    assert (len(done.stdout), done.stderr) == (10, "")


INTERRUPTED = """
import os, signal, sys
from patchwright.algorithms import batches

batches.BATCH_TOKENS = 60
at = [int(call) for call in sys.argv.pop(1).split(",")]
advance, calls = batches.ProgressReporter.advance, 0

def interrupted(self, cells):
    global calls
    calls += 1
    for call in at:
        if call == calls:
            os.kill(os.getpid(), signal.SIGINT)
    advance(self, cells)

batches.ProgressReporter.advance = interrupted
from patchwright.cli import main
main()
"""
"""The command line, hit by Ctrl-C as it reports for the n-th time: once for each n."""


def interrupted(at: str, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", INTERRUPTED, at, *arguments],
        capture_output=True,
        encoding="utf-8",
        cwd=cwd,
        env=os.environ | {"PYTHONIOENCODING": "utf-8", "NO_COLOR": "1", "OMP_NUM_THREADS": "1"},
        timeout=SECONDS,
        check=False,
    )


LONG_COMMANDS = [
    ["patch", *IOI, "--site", "z"],
    ["trace", *EIFFEL],
    ["ablate", *IOI],
    ["attribute", *IOI, "--site", "z", "--exact", "--scatter", "scatter.png"],
    ["paths", *IOI],
    ["circuit", *IOI, "--top", "8", "--n-random", "1", "--save", "circuit.json"],
]


@pytest.fixture
def in_the_middle(monkeypatch: pytest.MonkeyPatch, command: list[str]) -> None:
    """Ctrl-C hits this process at a report of a method when a part is done; a circuit is scored before."""
    advance, calls = batches.ProgressReporter.advance, itertools.count(1)
    at = 12 if command[0] == "circuit" else 3

    def interrupted(report: batches.ProgressReporter, cells: int) -> None:
        if next(calls) == at:
            os.kill(os.getpid(), signal.SIGINT)
        advance(report, cells)

    monkeypatch.setattr(batches, "BATCH_TOKENS", 60)
    monkeypatch.setattr(batches.ProgressReporter, "advance", interrupted)


@pytest.mark.usefixtures("in_the_middle")
@pytest.mark.parametrize("command", LONG_COMMANDS, ids=lambda command: command[0])
def test_ctrl_c_keeps_what_is_finished(tmp_path: Path, command: list[str]) -> None:
    outputs = ("--json", "out.json", "--csv", "out.csv", "--plot", "out.png")
    done = patchwright(*command, *outputs, cwd=tmp_path)
    assert done.returncode == 130, done.stderr
    assert "Stopping after this batch" in done.stderr
    assert "Warning (stopped)" in done.stderr
    assert "Traceback" not in done.stderr
    result = pw.load_result(tmp_path / "out.json")
    assert "stopped" in [notice["code"] for notice in result.warnings]
    values = result.array({"attribute": "exact", "circuit": "complement"}.get(command[0], "effect"))
    assert 0 < int(values.notnull().sum()) < values.size
    named = {"out.json", "out.csv", "out.png"}
    assert (
        named
        <= {path.name for path in tmp_path.iterdir()}
        <= named | {*("scatter.png", "circuit.json")}
    )


def test_what_ctrl_c_kept_is_shown_where_nothing_is_written(tmp_path: Path) -> None:
    done = interrupted("3", *LONG_COMMANDS[0], cwd=tmp_path)
    assert done.returncode == 130, done.stderr
    assert "Warning (stopped)" in done.stdout
    assert "Strongest places" in done.stdout


@pytest.mark.parametrize(
    ("at", "unsaid"), [("3,3", "Warning"), ("1", "Stopping")], ids=["a second one", "too early"]
)
def test_a_second_ctrl_c_or_one_before_anything_is_finished_ends_at_once(
    tmp_path: Path, at: str, unsaid: str
) -> None:
    done = interrupted(at, *LONG_COMMANDS[0], "--json", "out.json", cwd=tmp_path)
    assert done.returncode == 130, done.stderr
    assert unsaid not in done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_in_the_last_batch_changes_nothing(tmp_path: Path) -> None:
    whole = interrupted("0", *LONG_COMMANDS[-1], "--sizes", "8", "--json", "-", cwd=tmp_path)
    last = interrupted("4", *LONG_COMMANDS[-1], "--sizes", "8", "--json", "-", cwd=tmp_path)
    assert (whole.returncode, last.returncode) == (0, 0), last.stderr
    one, other = json.loads(whole.stdout), json.loads(last.stdout)
    assert (one["arrays"], one["warnings"]) == (other["arrays"], other["warnings"])


INTERRUPTED_WRITING = """
import os, signal, sys
from patchwright import atomic_files

# What a shell starts in the background ignores Ctrl-C, and so does all that it starts.
signal.signal(signal.SIGINT, signal.default_int_handler)
step, moment = sys.argv.pop(1), sys.argv.pop(1)
original = getattr(os, step)

def interrupted(*given):
    ours = "out.json" in str(given[0])
    if ours and moment == "before":
        os.kill(os.getpid(), signal.SIGINT)
    done = original(*given)
    if ours and moment == "after":
        os.kill(os.getpid(), signal.SIGINT)
    return done

setattr(atomic_files.os, step, interrupted)
from patchwright.cli import main
main()
"""
"""The command line, hit by Ctrl-C before or after a step in the writing of its `out.json`."""


@pytest.mark.parametrize(
    ("step", "moment", "is_new"),
    [("chmod", "before", False), ("replace", "before", False), ("replace", "after", True)],
)
def test_ctrl_c_leaves_the_old_file_and_no_half_of_a_new_one(
    tmp_path: Path, step: str, moment: str, is_new: bool
) -> None:
    target = tmp_path / "out.json"
    target.write_text("old", encoding="utf-8")
    done = subprocess.run(
        [
            *(sys.executable, "-c", INTERRUPTED_WRITING, step, moment),
            *("patch", *IOI, "--json", str(target)),
        ],
        capture_output=True,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 130, done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["out.json"]
    text = target.read_text(encoding="utf-8")
    assert json.loads(text)["method"] == "patch" if is_new else text == "old"
    assert "Traceback" not in done.stderr


HEAVY = (
    *("torch", "transformers", "numpy", "xarray", "pandas", "scipy"),
    *("matplotlib", "altair", "streamlit", "fastapi"),
)


@pytest.mark.parametrize(
    "code",
    ["import patchwright", "import patchwright.cli", "from patchwright.methods import METHODS"],
)
def test_importing_what_help_needs_loads_nothing_heavy(code: str) -> None:
    heavy = HEAVY if "METHODS" in code else (*HEAVY, "pydantic")
    probe = f"{code}; import sys; print([one for one in {heavy} if one in sys.modules])"
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_help_of_one_command_is_that_of_all() -> None:
    """Only the command that is asked for gets its options: nobody may notice."""
    whole, short = CliRunner(), make_app(only="")
    listed = whole.invoke(app, ["--help"]).output
    assert whole.invoke(short, ["--help"]).output == listed
    for name in METHODS.commands:
        alone = make_app(only=name)
        assert whole.invoke(alone, ["--help"]).output == listed
        assert (
            whole.invoke(alone, [name, "--help"]).output
            == whole.invoke(app, [name, "--help"]).output
        )


def test_lessons_are_listed_and_checked(tmp_path: Path) -> None:
    listed = patchwright("lessons")
    assert listed.returncode == 0
    for model in LESSON_MODELS:
        for lesson in built_in_lessons(model):
            line = rf"^{lesson.name} +{lesson.model} +{lesson.minutes} "
            assert re.search(line, listed.stdout, re.M)
    documented = Path("docs/lessons.md").read_text(encoding="utf-8")
    (lesson,) = re.findall(r"```yaml\n(.*?)```", documented, re.DOTALL)
    (tmp_path / "nouns.yaml").write_text(lesson, encoding="utf-8")
    done = patchwright("lessons", "nouns.yaml", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "nouns on demo: 2 steps, all of it holds.\n")
    (tmp_path / "nouns.yaml").write_text(lesson.replace("> 0.99", "> 3"), encoding="utf-8")
    wrong = patchwright("lessons", "nouns.yaml", cwd=tmp_path)
    assert wrong.returncode == 1
    assert "'effect L0.resid_pre@2 > 3' does not hold" in wrong.stdout
    (tmp_path / "nouns.yaml").write_text(lesson.replace("minutes: 3", ""), encoding="utf-8")
    faulty = patchwright("lessons", "nouns.yaml", cwd=tmp_path)
    assert faulty.returncode == 2
    assert "nouns, line 1: 'minutes'" in faulty.stderr
    assert "cannot be read" in patchwright("lessons", "none.yaml", cwd=tmp_path).stderr


@pytest.mark.parametrize(
    ("asked", "expected"), [([], True), (["--bos"], True), (["--no-bos"], False)]
)
def test_the_first_token_is_there_unless_it_is_asked_to_be_left_out(
    asked: list[str], expected: bool
) -> None:
    done = patchwright("patch", "--example", "capital", *asked, "--experiment", "-")
    assert json.loads(done.stdout)["bos"] is expected
    first = patchwright("tokens", "Mary", *asked).stdout.splitlines()[1]
    assert ("<|endoftext|>" in first) is expected


def test_an_example_leaves_the_first_token_out_where_it_starts_a_chat_turn() -> None:
    assert not bos_or_default(None, "capital", "smollm2")
    assert bos_or_default(True, "capital", "smollm2")
    assert bos_or_default(None, "capital", "gpt2")
    assert bos_or_default(None, "", "smollm2"), "prompts of one's own: as everywhere"


def test_a_lesson_of_the_package_is_checked_by_name_on_the_models_that_are_here(
    tmp_path: Path,
) -> None:
    done = patchwright("lessons", "1-prediction", environment={"PATCHWRIGHT_HOME": str(tmp_path)})
    assert done.returncode == 0
    missing, checked = done.stdout.splitlines()
    assert missing.startswith("1-prediction on smollm2: not checked, ")
    assert "`patchwright models get smollm2`" in missing
    assert checked == "1-prediction on demo: 3 steps, all of it holds."


def test_a_figure_for_print_and_its_caption(tmp_path: Path) -> None:
    figure, caption = tmp_path / "figure.pdf", tmp_path / "figure.tex"
    options = ["--plot-width", "3.3", "--plot-title", "--no-plot-numbers"]
    files = ["--plot", str(figure), "--caption", str(caption)]
    done = patchwright("patch", "--example", "ioi", "--layers", "0-1", *files, *options)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    pdf = figure.read_bytes()
    assert b"/MediaBox [ 0 0 237.6 " in pdf
    assert set(sizes_of(pdf)) == {6.0, 7.0, 8.0}
    assert caption.read_text(encoding="utf-8").startswith(r"\caption{Share of the logit difference")
    said = patchwright("patch", "--example", "ioi", "--layers", "0-1", "--caption", "-")
    assert said.stdout.startswith("Share of the logit difference restored by copying")
    assert said.stdout.count("\n") == 1


def test_all_panels_of_a_trace_are_drawn_together(tmp_path: Path) -> None:
    figure = tmp_path / "trace.svg"
    options = [*EIFFEL[:-1], "2", "--window", "3", "--panels", str(figure), "--caption", "-"]
    done = patchwright("trace", *options)
    assert done.returncode == 0, done.stderr
    drawn = figure.read_text(encoding="utf-8")
    for name in ("Hidden state (3 layers", "MLP (3 layers", "Attention (3 layers"):
        assert name in drawn
    assert "by activations of the clean run" in done.stdout
