"""A method that only this file knows: one class, and everybody can do it."""

import ast
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import pytest
import xarray as xr
from pydantic import Field
from typer.testing import CliRunner

import patchwright as pw
from docs_programs import program
from every_method import PAIR
from http_service import client_of
from patchwright.algorithms.pair_runs import PairRuns
from patchwright.cli import make_app
from patchwright.errors import ExperimentError
from patchwright.experiment.assembly import RawResult, RunContext
from patchwright.experiment.base import OnPairs
from patchwright.experiment.declaration import Cost, Output
from patchwright.experiment.limits import Limits
from patchwright.experiment.observation import measure_unpatched
from patchwright.experiment.run import run
from patchwright.figures.matplotlib_figures import image_bytes
from patchwright.figures.style import FigureStyle
from patchwright.methods import METHODS
from patchwright.model.load import Model
from patchwright.prompts.pair import TokenPair
from patchwright.server.limits import Limits as ServerLimits
from patchwright.storage.export import notebook_text, script_text
from patchwright.storage.serialization import record_of
from patchwright.storage.soundness import check_sound


class Loudness(OnPairs):
    """How large the clean run's residual stream is at the last position of every layer.

    Source: this test 2026.
    """

    main: ClassVar[str] = "loudness"
    unit: ClassVar[str] = "norm"
    summary: ClassVar[str] = "Measure how loud each layer is."

    method: Literal["loudness"] = "loudness"
    power: int = Field(default=2, title="Power", description="Which norm to take.")
    scale: Literal["plain", "relative"] = Field(
        default="plain", title="Scale", description="Relative to the first layer, or not."
    )

    def title(self, result: pw.Result) -> str:
        """What it is called."""
        return f"Loudness by the {self.power}-norm"

    @property
    def question(self) -> str:
        """What it asks."""
        return "How loud is each layer?"

    @property
    def output(self) -> Output:
        """A norm a layer."""
        return Output({"loudness": ("layer",)})

    def cost(self, tokens: Sequence[TokenPair], model: Model) -> Cost:
        """A value a layer."""
        return Cost(cells=len(tokens) * model.spec.n_layers)

    def compute(self, work: RunContext, tokens: list[TokenPair]) -> RawResult:
        """The array `loudness`, by layer."""

        def measure(runs: PairRuns) -> dict[str, xr.DataArray]:
            ends = [layer[-1].double() for layer in runs.clean[0].kept["resid_post"]]
            norms = np.array([float(end.norm(self.power)) for end in ends])
            norms = norms / norms[0] if self.scale == "relative" else norms
            coords = {"layer": range(len(norms))}
            return {"loudness": xr.DataArray(norms, dims=["layer"], coords=coords)}

        return measure_unpatched(self, work, tokens, ["resid_post"], measure)


EVERY = METHODS.with_method(Loudness)
APP = make_app(EVERY)


@pytest.fixture
def result(demo: pw.Model) -> pw.Result:
    return run(Loudness.on(demo, PAIR, power=3, scale="relative"), demo)


def test_it_has_a_command_with_its_options(result: pw.Result) -> None:
    help_ = CliRunner().invoke(APP, ["loudness", "--help"]).output
    assert "Measure how loud each layer is." in help_
    assert "--scale <plain|relative>" in help_
    assert "Which norm to take." in help_
    asked = ["loudness", "--example", "ioi", "--power", "3", "--scale", "relative", "--no-store"]
    done = CliRunner().invoke(APP, [*asked, "--json", "-"])
    document = json.loads(done.stdout)
    assert document["arrays"]["loudness"]["values"] == result.array("loudness").values.tolist()
    assert document["experiment"]["power"] == 3
    shown = CliRunner().invoke(APP, asked)
    assert "Loudness by the 3-norm" in shown.stdout
    refused = CliRunner().invoke(APP, [*asked, "--scale", "loud"])
    assert refused.exit_code == 2
    assert "'loud' is not one of 'plain', 'relative'" in refused.stderr


def test_it_is_in_the_schema_and_has_its_bound(demo: pw.Model) -> None:
    asked = {"method": "loudness", "model": "demo", "pairs": PAIR.model_dump(mode="json")}
    with client_of(demo, limits=ServerLimits(cells=5), methods=EVERY) as client:
        schemas = client.get("/openapi.json").json()["components"]["schemas"]
        power = schemas["Loudness"]["properties"]["power"]
        assert (power["default"], power["description"]) == (2, "Which norm to take.")
        assert "#/components/schemas/Loudness" in json.dumps(schemas["Experiment"])
        answer = client.post("/v1/experiments", json=asked)
        assert answer.status_code == 422
        assert "has 6 cells, and this server takes at most 5" in answer.text
        wrong = client.post("/v1/experiments", json={**asked, "power": "loud"})
        assert "field 'power'" in wrong.text
    Limits(cells=6).check(EVERY.parse(asked), demo)
    with pytest.raises(ExperimentError, match="6 cells"):
        Limits(cells=5).check(EVERY.parse(asked), demo)


def test_its_identity_is_its_method_and_what_is_not_as_usual(demo: pw.Model) -> None:
    plain = Loudness.on(demo, PAIR)
    assert EVERY.parse(plain.model_dump(mode="json")).hash == plain.hash
    assert (
        EVERY.parse(plain.model_dump(mode="json", exclude_defaults=True) | {"method": "loudness"})
        == plain
    )
    assert (
        Loudness.on(demo, PAIR, power=2).hash == plain.hash != Loudness.on(demo, PAIR, power=3).hash
    )


def test_its_result_is_the_same_out_of_a_file(result: pw.Result, tmp_path: Path) -> None:
    result.to_json(tmp_path / "loudness.json")
    again = EVERY.load_result(tmp_path / "loudness.json")
    assert (again.main, again.asked) == ("loudness", result.asked)
    assert image_bytes(again, "svg") == image_bytes(result, "svg")


def test_a_run_of_it_from_elsewhere_is_checked_by_what_it_declares(result: pw.Result) -> None:
    document = record_of(result, "2026-01-02T03:04:05+00:00").content
    check_sound(document, result, EVERY)
    loudness = result.array("loudness")
    for arrays, why in (
        ({"loudness": loudness, "more": loudness.rename("more")}, "other arrays than its method"),
        ({"loudness": loudness.rename(layer="head")}, "other axes than its method's"),
        ({"loudness": loudness.assign_coords(layer=loudness["layer"] + 1)}, "its model or prompts"),
        ({"loudness": loudness.astype(str)}, "holds no numbers"),
    ):
        with pytest.raises(ValueError, match=why):
            check_sound(document, replace(result, arrays=arrays), EVERY)
    with pytest.raises(ValueError, match="details that its method does not give"):
        check_sound(document, replace(result, details={"how": "loud"}), EVERY)


def test_its_figure_and_its_script_are_there(result: pw.Result) -> None:
    assert b"Loudness by the 3-norm" in image_bytes(result, "svg", FigureStyle(title=True))
    script = script_text(result, EVERY)
    ast.parse(script)
    assert "pw.Loudness(" in script
    assert "power=3" in script
    assert "How large the clean run's residual stream is" in " ".join(
        script.replace("#", " ").split()
    )
    assert "pw.Loudness(" in notebook_text(result, EVERY)


def test_it_has_its_row_in_the_documentation() -> None:
    page = program("write_methods").page_of(EVERY)
    assert "| `power` | integer | `2` | Which norm to take. |" in page
    assert "Source: this test 2026." in page
    assert {"name": "loudness", "command": "loudness"}.items() <= EVERY.descriptions()[-1].items()
