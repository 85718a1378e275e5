"""The run store from the command line: answers, lists, comparisons, archives."""

import json
from pathlib import Path

import pytest

import patchwright as pw
from command import IOI, Command, Done, command_in
from handmade_results import made, numbered
from patchwright.storage.store import Store

HEADS = ("patch", *IOI, "--site", "z", "--json", "-")


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    return command_in(capsys, monkeypatch)


def ids_of(done: Done) -> list[str]:
    return [one["id"] for one in json.loads(done.out)["runs"]]


def test_the_second_time_the_store_answers_and_says_so(command: Command, home: Path) -> None:
    first, second = command(*HEADS), command(*HEADS)
    (run,) = [one.id for one in Store().entries()]
    assert (first.status, first.err, second.status) == (0, "", 0)
    assert second.out == first.out
    assert second.err.startswith(f"From the run store: run {run}, computed 20")
    assert second.err.count("\n") == 1
    other = command(*HEADS, "--direction", "noise")
    assert other.err == ""
    assert len(Store().entries()) == 2
    assert home.exists()


@pytest.mark.parametrize("how", ["option", "environment"])
def test_without_the_store_nothing_is_looked_up_or_kept(
    command: Command, home: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    if how == "environment":
        monkeypatch.setenv("PATCHWRIGHT_NO_STORE", "1")
    done = command(*HEADS, *(["--no-store"] if how == "option" else []))
    assert (done.status, done.err, home.exists()) == (0, "", False)


def test_every_methods_command_is_answered(
    command: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    example = ("--example", "ioi")
    eiffel = ("--prompt", "The Eiffel Tower is in", "--subject", "Eiffel Tower")
    for arguments in (
        ("trace", *eiffel, "--answer", " Paris", "--samples", "2"),
        ("ablate", *example, "--place", "L0H0.z"),
        ("attribute", *example, "--site", "z"),
        ("paths", *example, "--receiver", "L1H1.q"),
        ("circuit", *example, "--top", "4", "--n-random", "0"),
        ("diff", *example),
        ("attention", *example, "--head", "L0H0"),
        ("lens", *example),
        ("explain", *example),
    ):
        monkeypatch.setenv("PATCHWRIGHT_HOME", str(tmp_path / arguments[0]))
        first, second = command(*arguments), command(*arguments)
        assert (first.status, first.err) == (0, ""), arguments
        assert second.out == first.out, arguments
        assert second.err.startswith("From the run store: run "), arguments
        assert all(line.startswith("From the run store") for line in second.err.splitlines())


def test_a_result_is_handed_out_though_the_store_fails(command: Command, home: Path) -> None:
    home.parent.mkdir(exist_ok=True)
    home.write_text("no folder", encoding="utf-8")
    done = command(*HEADS)
    assert done.status == 0
    assert json.loads(done.out)["method"] == "patch"
    assert done.err.startswith("Note: ")
    assert "PATCHWRIGHT_HOME" in done.err


def test_an_experiment_is_written_down_and_not_done(
    command: Command, tmp_path: Path, home: Path
) -> None:
    done = command("patch", *IOI, "--site", "z", "--experiment", str(tmp_path / "e.jsonl"))
    assert (done.status, done.out, done.err, home.exists()) == (0, "", "", False)
    (line,) = (tmp_path / "e.jsonl").read_text(encoding="utf-8").splitlines()
    asked = pw.Patch.of(json.loads(line))
    assert command(*HEADS).status == 0
    assert Store().entries()[0].experiment_hash == asked.hash
    bad = command("patch", *IOI, "--experiment", "no/such/file")
    assert (bad.status, bad.out) == (2, "")


def test_runs_are_listed_shown_noted_deleted_and_restored(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    assert command("runs", "list").out.startswith("Nothing of the kind in ")
    shown = command("patch", *IOI, "--site", "z")
    command("lens", *IOI)
    lens, patch = ids_of(command("runs", "list", "--json", "-"))
    assert ids_of(command("runs", "list", "mary", "LOGIT_LENS", "--json", "-")) == [lens]
    table = command("runs", "list").out
    assert table.index(lens) < table.index(patch)
    assert "When Mary and John went" in table

    assert command("runs", "note", patch, "for [bold]Ann[/]\x1b[31m").status == 0
    listed = command("runs", "list", "ann").out
    assert "for [bold]Ann[/]<U+001B>[31m" in listed
    assert shown.out in command("runs", "show", patch[:8]).out

    done = command("runs", "delete", patch)
    assert f"patchwright runs restore {patch}" in done.out
    assert ids_of(command("runs", "list", "--json", "-")) == [lens]
    assert ids_of(command("runs", "list", "--deleted", "--json", "-")) == [patch]
    assert command("patch", *IOI, "--site", "z", "--experiment", "-").status == 0
    assert command("runs", "restore", patch).out == "Restored 1.\n"
    assert ids_of(command("runs", "list", "--json", "-")) == [lens, patch]


def test_a_runs_files_are_those_of_its_command(command: Command, tmp_path: Path) -> None:
    files = [str(tmp_path / name) for name in ("a.json", "a.csv", "a.svg")]
    outputs = [
        part for pair in zip(("--json", "--csv", "--plot"), files, strict=True) for part in pair
    ]
    command("patch", *IOI, "--site", "z", *outputs)
    before = [Path(file).read_bytes() for file in files]
    (run,) = ids_of(command("runs", "list", "--json", "-"))
    assert command("runs", "show", run, *outputs).status == 0
    assert [Path(file).read_bytes() for file in files] == before


def test_two_runs_are_compared_on_one_scale(command: Command, tmp_path: Path) -> None:
    store = Store()
    one, two = store.save_all(
        [made([[0.25, 0.5], [0.0, 1.0]]), numbered([[0.5, -0.5], [0.0, 3.0]], 1)]
    )
    document = json.loads(command("runs", "compare", one, two, "--json", "-").out)
    first, second, difference = document["panels"]
    assert (document["first"], document["second"]) == (one, two)
    assert first["values"] == [[0.25, 0.5], [0.0, 1.0]]
    assert second["values"] == [[0.5, -0.5], [0.0, 3.0]]
    assert difference["values"] == [[0.25, -1.0], [0.0, 2.0]]
    shown = command("runs", "compare", one, two).out
    assert "second − first" in shown
    assert "2.00" in shown
    figure = tmp_path / "c.svg"
    assert command("runs", "compare", one, two, "--plot", str(figure)).status == 0
    assert "Second − first" in figure.read_text(encoding="utf-8")


def test_runs_of_other_cells_have_no_difference(command: Command) -> None:
    store = Store()
    kinds = [made([[0.5, 0.5]]), numbered([[0.5] * 3], 1), made([[0.5, 0.5]], "z", "head")]
    ids = store.save_all(kinds)
    for other in ids[1:]:
        done = command("runs", "compare", ids[0], other)
        assert (done.status, done.out) == (2, "")
        assert "so they have no difference" in done.err


def test_pruning_only_tells_until_it_is_told_yes(command: Command) -> None:
    store = Store()
    ids = store.save_all([numbered([[i / 4]], i) for i in range(4)])
    store.note(ids[0], "stays")
    store.delete([ids[3]])
    assert command("runs", "prune").out.startswith("Would remove 1 runs")
    assert set(ids_of(command("runs", "prune", "--keep", "0", "--json", "-"))) == set(ids[1:])
    assert len(store.entries()) == 3
    assert command("runs", "prune", "--older-than", "0", "--yes").out.startswith("Removed 3 runs")
    assert [one.id for one in store.entries()] == [ids[0]]
    assert store.entries(deleted=True) == []


def test_archives_travel_between_stores(command: Command, tmp_path: Path) -> None:
    store = Store()
    ids = store.save_all([numbered([[i / 4]], i) for i in range(3)])
    store.note(ids[1], "mine")
    first, second = tmp_path / "first.zip", tmp_path / "second.zip"
    assert command("runs", "export", str(first)).out.startswith("3 runs are in ")
    (tmp_path / "elsewhere").mkdir()
    Store(tmp_path / "elsewhere").save(numbered([[9.0]], 9))
    at = ("--store", str(tmp_path / "elsewhere"))
    assert (
        command("runs", "import", str(first), *at).out == "3 runs taken in, 0 were here already.\n"
    )
    assert (
        command("runs", "import", str(first), *at).out == "0 runs taken in, 3 were here already.\n"
    )
    assert command("runs", "export", str(second), *ids, *at).status == 0
    assert second.read_bytes() == first.read_bytes()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["show", "nothing"], "there is no such run"),
        (["delete"], "Missing argument"),
        (["delete", "nothing"], "there is no such run"),
        (["list", "--store", "nowhere"], "there is no run store (runs.sqlite3) in this folder"),
        (["import", "nowhere.zip"], "cannot be read"),
        (["export", "no/such/a.zip"], "there is no folder"),
        (["list", "--limit", "0"], "--limit"),
        (["prune", "--keep", "-1"], "--keep"),
    ],
    ids=" ".join,
)
def test_wrong_input_gets_one_message(command: Command, arguments: list[str], says: str) -> None:
    Store().save(made([[0.5]]))
    done = command("runs", *arguments)
    assert (done.status, done.out) == (2, "")
    assert says in done.err
    assert done.err.startswith("Error: ")
