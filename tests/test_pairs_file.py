"""`--pairs` and `build`: many pairs from the command line, in this process."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

import patchwright as pw
from command import patchwright
from patchwright import cli
from patchwright.cli import options

MEETING = "When Mary and John went to the store, {} gave a drink to"
IOI: dict[str, Any] = {
    "clean": MEETING.format("John"),
    "corrupt": MEETING.format("Mary"),
    "answer": " Mary",
    "wrong": " John",
    "roles": [{"name": "giver", "start": 38, "stop": 42}],
}
CAPITAL: dict[str, Any] = {
    "clean": "The capital of France is",
    "corrupt": "The capital of Italy is",
    "answer": " Paris",
    "wrong": " Rome",
    "roles": [{"name": "giver", "start": 15, "stop": 21}],
}


@pytest.fixture
def run(demo: pw.Model, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Runs a command in this process: exit status; the model is loaded once."""

    def loaded(*_: Any) -> pw.Model:
        return demo

    monkeypatch.setattr(options, "load", loaded)

    def command(*arguments: str) -> int:
        monkeypatch.setattr("sys.argv", ["patchwright", *arguments])
        with pytest.raises(SystemExit) as left:
            cli.main()
        return int(left.value.code or 0)

    return command


def saved(folder: Path, *rows: dict[str, Any] | str) -> str:
    path = folder / "pairs.jsonl"
    lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return str(path)


def test_a_set_is_patched_at_its_roles(run: Any, tmp_path: Path, demo: pw.Model) -> None:
    path, out = saved(tmp_path, IOI, CAPITAL), str(tmp_path / "out.json")
    assert run("patch", "--pairs", path, "--roles", "giver, last", "--json", out) == 0
    found = pw.load_result(out)
    pairs = [pw.Pair.model_validate(row) for row in (IOI, CAPITAL)]
    expected = pw.patch(demo, pairs, roles=["giver", "last"])
    assert found.patched.equals(expected.patched)
    assert found.patched.sizes == {"pair": 2, "layer": 6, "role": 2}


def test_bad_rows_are_told_with_their_lines_and_the_good_ones_go_on(
    run: Any, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    unequal = {**IOI, "clean": "Mary went", "roles": []}
    path = saved(tmp_path, IOI, "{", "", unequal, {**IOI, "answer": ""}, CAPITAL)
    assert run("patch", "--pairs", path, "--site", "z", "--json", str(tmp_path / "o.json")) == 0
    told = capfd.readouterr().err
    assert [line[:8] for line in told.splitlines() if line.startswith("Line")] == [
        "Line 2: ", "Line 4: ", "Line 5: ",
    ]  # fmt: skip
    assert pw.load_result(tmp_path / "o.json").patched.sizes["pair"] == 2


def test_a_pair_has_one_number_in_warnings_and_tables_and_its_line_is_told(
    run: Any, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    good = "The capital of France is,The capital of Italy is, Paris, Rome\n"
    odd = "The capital of Spain is,The capital of Italy is,Mary, Rome\n"
    path, out = tmp_path / "pairs.csv", str(tmp_path / "out.csv")
    path.write_text(f"Clean,Corrupt,Answer,Wrong\n{good}\n{good}a,b\n{odd}", encoding="utf-8")
    assert run("patch", "--pairs", str(path), "--site", "z", "--layers", "0", "--csv", out) == 0
    told = capfd.readouterr().err
    assert "Pairs 1-3 are lines 2, 4, 6 of the file." in told
    assert "(no_leading_space): Pair 3: The answer `Mary`" in told
    assert "Pair 0" not in told
    rows = Path(out).read_text(encoding="utf-8").splitlines()
    column = rows[0].split(",").index("pair")
    assert {row.split(",")[column] for row in rows[1:]} == {"1", "2", "3"}


@pytest.mark.parametrize(
    "command",
    [
        ["patch", "--site", "resid_pre"],
        ["patch", "--site", "z", "--per", "head_position"],
        ["diff", "--site", "z", "--per", "position"],
        ["attribute", "--site", "mlp_out"],
        ["ablate", "--ablation", "resample", "--prompt", CAPITAL["clean"]],
        ["lens", "--direct", "position"],
    ],
    ids=" ".join,
)
def test_the_options_that_a_refusal_of_lengths_names_are_ways_out(
    run: Any, tmp_path: Path, capfd: pytest.CaptureFixture[str], command: list[str]
) -> None:
    pairs = ["--pairs", saved(tmp_path, IOI, CAPITAL), "--json", str(tmp_path / "out.json")]
    assert run(*command, *pairs) == 2
    ways = re.findall(r"\((--[^)]*)\)", capfd.readouterr().err)
    assert ways
    for way in ways:
        assert run(*command, *pairs, *way.split()) == 0


@pytest.mark.parametrize(
    ("command", "edges"),
    [
        (["patch", "--site", "z"], True),
        (["ablate"], True),
        (["attention"], True),
        (["lens"], True),
        (["paths"], False),
        (["circuit", "--top", "3", "--sizes", "3"], False),
    ],
    ids=lambda value: str(value),
)
def test_edges_are_offered_where_the_command_can_match_them(
    run: Any, tmp_path: Path, capfd: pytest.CaptureFixture[str], command: list[str], edges: bool
) -> None:
    unequal = {**CAPITAL, "clean": "The capital of Madagascar is"}
    path, out = saved(tmp_path, unequal), str(tmp_path / "out.json")
    assert run(*command, "--pairs", path, "--json", out) == 2
    told = capfd.readouterr().err
    assert ("(--align edges)" in told) == edges
    assert "same number of tokens" in told
    if edges:
        assert run(*command, "--pairs", path, "--json", out, "--align", "edges") == 0


def test_a_set_of_bytes_that_are_no_text_loses_only_those_rows(
    run: Any, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "pairs.csv"
    good = "The capital of France is,The capital of Italy is, Paris, Rome\n"
    head = "clean,corrupt,answer,wrong\n"
    path.write_bytes(f"{head}{good}".encode() + b"caf\xe9,tea, x, y\n" + good.encode())
    assert run("lens", "--pairs", str(path), "--json", str(tmp_path / "out.json")) == 0
    assert "Line 3: The row has bytes that are not valid UTF-8" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("rows", "more", "says"),
    [
        (["{"], [], "has no pair that can be used"),
        ([{**IOI, "wrong": []}], [], "compares with a wrong answer"),
        ([{**IOI, "wrong": []}], [], "has no pair that can be used with demo"),
        ([IOI], ["--clean", "a"], "either --pairs or one pair"),
        ([IOI], ["--example", "ioi"], "either --pairs or one pair"),
        ([IOI], ["--roles", "verb"], "has no role 'verb': its roles are giver, last"),
        (
            [IOI],
            ["--roles", "last", "--place", "L0.z"],
            "--roles has no meaning with --place: leave it out",
        ),
        ([IOI], ["--align", "loose"], "choose exact or edges"),
        ([IOI, CAPITAL], [], "--roles last"),
    ],
)
def test_a_set_that_cannot_be_run_gets_one_message_and_exit_status_2(
    run: Any,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    rows: list[Any],
    more: list[str],
    says: str,
) -> None:
    assert run("patch", "--pairs", saved(tmp_path, *rows), *more) == 2
    assert says in capfd.readouterr().err


def test_a_file_that_is_not_there(run: Any, capfd: pytest.CaptureFixture[str]) -> None:
    assert run("patch", "--pairs", "no.jsonl") == 2
    assert "cannot be read" in capfd.readouterr().err


@pytest.mark.parametrize(
    "command",
    [
        ["ablate"],
        ["attribute", "--site", "z"],
        ["paths", "--layers", "0"],
        ["circuit", "--top", "5", "--sizes", "5", "--n-random", "0"],
        ["diff"],
        ["attention", "--head", "L0H0"],
        ["lens", "--direct", "head"],
        ["explain"],
    ],
    ids=lambda command: command[0],
)
def test_every_command_that_takes_a_pair_takes_a_set(
    run: Any, tmp_path: Path, command: list[str]
) -> None:
    path, out = saved(tmp_path, CAPITAL, CAPITAL), str(tmp_path / "out.json")
    assert run(*command, "--pairs", path, "--json", out) == 0
    document = json.loads(Path(out).read_text(encoding="utf-8"))
    assert len(document["experiment"]["pairs"]) == 2


def test_a_set_comes_from_standard_input(tmp_path: Path) -> None:
    rows = (tmp_path / saved(tmp_path, "[]", IOI)).read_text(encoding="utf-8")
    done = patchwright("patch", "--pairs", "-", "--layers", "0", "--csv", "-", stdin=rows)
    assert done.returncode == 0, done.stderr
    assert "Line 1: The line is not an object" in done.stderr
    assert done.stdout.count("\n") == 1 + 15


SENTENCE = "The keys to the cabinet are on the table"


def test_a_built_template_is_a_set_that_can_be_run(
    run: Any, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path, out = str(tmp_path / "pairs.jsonl"), str(tmp_path / "out.json")
    assert run("build", "template", "indirect-object", "--count", "5", "--out", path) == 0
    assert run("build", "template", "indirect-object", "--count", "5") == 0
    assert capfd.readouterr().out == Path(path).read_text(encoding="utf-8")
    rows = [json.loads(line) for line in Path(path).read_text(encoding="utf-8").splitlines()]
    assert [row["tags"] for row in rows] == [["indirect-object"]] * 5
    assert run("patch", "--pairs", path, "--roles", "S,last", "--layers", "0", "--json", out) == 0
    assert pw.load_result(out).patched.sizes == {"pair": 5, "layer": 1, "role": 2}


OWN = [
    "The {N} near the {P}",
    *("--slot", "N=key/keys,dog/dogs", "--slot", "P=river", "--swap", "N={N.1}"),
    *("--answer", " is", "--answer", " was", "--wrong", " are"),
]


def test_a_template_of_ones_own_from_options_and_from_a_file(
    run: Any, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run("build", "template", *OWN, "--count", "2") == 0
    rows = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    assert {(row["clean"], row["corrupt"]) for row in rows} == {
        ("The key near the river", "The keys near the river"),
        ("The dog near the river", "The dogs near the river"),
    }
    assert rows[0]["answer"] == [" is", " was"]
    document = {"text": OWN[0], "slots": {"N": [["key", "keys"]], "P": ["river"]}}
    document |= {"corrupt": {"N": "{N.1}"}, "answer": " is", "wrong": " are"}
    (tmp_path / "own.json").write_text(json.dumps(document), encoding="utf-8")
    assert run("build", "template", str(tmp_path / "own.json"), "--count", "1") == 0
    assert json.loads(capfd.readouterr().out)["tags"] == ["own"]


def test_sentences_are_built_and_the_bad_ones_told(
    run: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run("build", "agreement", SENTENCE, "The keys is here") == 0
    done = capfd.readouterr()
    assert json.loads(done.out)["corrupt"] == "The key to the cabinet"
    assert "Sentence 2: 'keys' and 'is' do not agree" in done.err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["template", "nothing"], "They are: indirect-object"),
        (["template", "no.json"], "cannot be read"),
        (["template", "indirect-object", "--slot", "A=b"], "belong to a text with slots"),
        (["template", "{A} is", "--slot", "A", "--answer", "x"], "as in A=Mary,John"),
        (["template", "{A} is", "--slot", "A=b"], "--answer is missing"),
        (["template", *OWN, "--count", "3"], "Ask for at most 2"),
        (["agreement", "The keys is here"], "do not agree"),
        (["agreement", "a", "b"], "No sentence can be used"),
        (["agreement", SENTENCE, "--align", "x"], "choose exact or edges"),
    ],
    ids=lambda value: " ".join(value)[:40] if isinstance(value, list) else "",
)
def test_what_cannot_be_built_gets_one_message_and_exit_status_2(
    run: Any, capfd: pytest.CaptureFixture[str], arguments: list[str], says: str
) -> None:
    assert run("build", *arguments) == 2
    assert says in capfd.readouterr().err


def test_without_a_template_the_built_in_ones_are_listed(
    run: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run("build", "template") == 0
    assert "The capital of {COUNTRY} is" in capfd.readouterr().out


def test_swaps_are_written_best_first(run: Any, capfd: pytest.CaptureFixture[str]) -> None:
    prompt, word, answer = "The capital of France is", "France", " Paris"
    assert run("build", "swap", prompt, word, "--answer", answer, "--count", "3") == 0
    rows = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    assert [row["tags"] for row in rows] == [["swap"]] * 3
    assert all(row["clean"] == prompt and row["corrupt"] != prompt for row in rows)
    assert run("build", "swap", prompt, "Franc", "--answer", answer) == 2
    assert "'Franc' stands 0 times" in capfd.readouterr().err
