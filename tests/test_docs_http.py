"""The commands of `docs/http.md`: each `curl` asked of a server in this process."""

import re
import shlex
from itertools import pairwise
from pathlib import Path

import pytest

import patchwright as pw
from command import patchwright
from http_service import client_of
from patchwright.experiment.declaration import Option
from patchwright.methods import METHODS
from patchwright.server.limits import Limits

PAGE = (Path(__file__).parents[1] / "docs" / "http.md").read_text(encoding="utf-8")


def curls() -> list[list[str]]:
    """The arguments of each `curl` on the page."""
    blocks = re.findall(r"```console\n(.*?)```", PAGE, re.DOTALL)
    commands = [
        part for block in blocks for part in re.split(r"(?=^curl )", block, flags=re.MULTILINE)
    ]
    return [shlex.split(one)[1:] for one in commands if one.strip()]


def test_every_request_on_the_page_is_answered(demo: pw.Model) -> None:
    names: dict[str, str] = {}
    kinds: set[str] = set()
    with client_of(demo, token="secret") as client:
        client.headers["Authorization"] = "Bearer secret"
        for arguments in curls():
            address = next(one for one in arguments if one.startswith("localhost:8000"))
            for name, value in names.items():
                address = address.replace(name, value)
            given = dict(pairwise(arguments))
            headers = dict([given["-H"].split(": ", 1)]) if "-H" in given else {}
            headers.pop("Authorization", None)
            method = given.get("-X", "POST" if "-d" in given else "GET")
            answer = client.request(
                method,
                address.removeprefix("localhost:8000"),
                content=given.get("-d"),
                headers=headers,
            )
            assert answer.is_success, (arguments, answer.text)
            kinds.add(answer.headers["content-type"].partition(";")[0])
            if "/v1/experiments" in address:
                names |= {"JOB": answer.json()["id"], "HASH": answer.json()["hash"]}
    assert len(curls()) == 16
    assert kinds == {
        *("application/json", "text/csv", "image/png", "image/svg+xml", "text/event-stream"),
    }


def test_the_experiment_that_the_page_has_written_is_one(demo: pw.Model) -> None:
    line = re.search(r"`patchwright (patch --example ioi [^`]*)`", PAGE)
    assert line is not None
    written = patchwright(*shlex.split(line[1])).stdout
    with client_of(demo) as client:
        kind = {"Content-Type": "application/json"}
        assert client.post("/v1/experiments", content=written, headers=kind).status_code == 202


def test_every_option_on_the_page_is_one_of_the_commands() -> None:
    known = patchwright("serve", "--help").stdout
    options = {
        option
        for line in re.findall(r"patchwright serve (.*)", PAGE)
        for option in re.findall(r"--[a-z-]+", line)
    }
    assert options >= {"--model", "--port", "--host", "--token-file"}
    assert all(f"{option} " in known for option in options)


def most_of(name: str) -> int:
    """How long the list in a field of this name may be, in all methods that have it."""
    found = {
        one.max_items
        for kind in METHODS.values()
        for field, info in kind.model_fields.items()
        for one in info.metadata
        if field == name and isinstance(one, Option)
    }
    (most,) = found
    assert most is not None
    return most


@pytest.mark.parametrize(
    "shown",
    [
        f"{Limits().body >> 20} MiB, and {Limits().arrival:g} seconds to arrive",
        f"| {Limits().tokens} tokens |",
        f"| {Limits().pairs} |",
        f"| {Limits().cells:,} |",
        f"| {Limits().passes} passes |",
        f"| {', '.join(f'{most_of(name):,}' for name in ('places', 'receivers', 'prompts', 'edges'))} |",
        f"| {Limits().answers}; {Limits().drawn:,} |",
        f"(`--queue`) | {Limits().queue} |",
        f"(`--seconds`) | {Limits().seconds:g} |",
    ],
)
def test_the_bounds_on_the_page_are_the_servers(shown: str) -> None:
    assert shown in PAGE
