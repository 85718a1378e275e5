"""A model whose logits are no finite numbers, though its final residual stream is: one error, everywhere."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import patchwright as pw
from checkpoints import TOKENIZER, save_tiny
from command import patchwright
from every_method import CLEAN, CORRUPT, ON_PAIRS, PAIR, TRACE, every_experiment
from http_service import client_of
from patchwright.algorithms.readout import logits
from patchwright.algorithms.suggest import next_tokens, suggested_answers
from patchwright.errors import NonFiniteError
from patchwright.experiment.base import CellByCell
from patchwright.experiment.batching import make_batches, run_batch
from patchwright.experiment.run import run
from patchwright.insights.explain import explain_pair
from patchwright.model import ops
from patchwright.model.forward import forward
from patchwright.model.requests import Row
from tiny import pair_of, random_gpt2

DAMAGE = {"minus infinity": -torch.inf, "infinity": torch.inf, "NaN": torch.nan}
NAMES = list(every_experiment())
SAID = "logits that are not finite numbers"
UNUSED = 300
"""A token that no prompt and no answer has: only what reads the whole vocabulary meets it."""


@pytest.fixture(scope="module", params=DAMAGE)
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint with one damaged row in an unembedding of its own."""
    folder = save_tiny(tmp_path_factory.mktemp("damaged"), tie_word_embeddings=False)
    gpt2 = type(random_gpt2()).from_pretrained(folder)
    with torch.no_grad():
        gpt2.lm_head.weight[UNUSED] = DAMAGE[request.param]
    gpt2.save_pretrained(folder)
    assert all((folder / name).is_file() for name in TOKENIZER)
    return folder


@pytest.fixture(scope="module")
def damaged(folder: Path) -> pw.Model:
    return pw.load_model(str(folder))


@pytest.mark.parametrize("method", NAMES)
def test_every_method_raises_it(method: str, damaged: pw.Model) -> None:
    experiment = every_experiment(model=damaged.name)[method]
    with pytest.raises(NonFiniteError, match=SAID):
        run(experiment, damaged)
    (batch,) = make_batches([experiment])
    (outcome,) = run_batch(batch, damaged)
    assert outcome.result is None
    assert SAID in str(outcome.error)


@pytest.mark.parametrize("method", NAMES)
def test_no_preview_is_given(method: str, damaged: pw.Model) -> None:
    experiment = every_experiment(model=damaged.name)[method]
    if isinstance(experiment, CellByCell):
        with pytest.raises(NonFiniteError, match=SAID):
            experiment.run_unpatched(damaged)


def test_nothing_is_suggested_or_explained(damaged: pw.Model) -> None:
    network = damaged.network
    asked: list[Callable[[], Any]] = [
        lambda: next_tokens(network, [1, 2, 3]),
        lambda: suggested_answers(network, [1, 2, 3], [1, 2, 4]),
        lambda: pw.swap(damaged, CLEAN, "John", " Mary", words=["Anna"]),
        lambda: explain_pair(damaged, PAIR),
    ]
    for one in asked:
        with pytest.raises(NonFiniteError, match=SAID):
            one()


SWEEPS = ("patch", "ablate", "attribute", "paths")
WAYS_OUT = [
    *((words, out) for words in [*ON_PAIRS, TRACE] for out in ("", "--json", "--csv", "--plot")),
    *((words, "--intervals") for words in ON_PAIRS if words[0] in SWEEPS),
    *((["explain"], out) for out in ("", "--json")),
]


@pytest.mark.parametrize(("words", "output"), WAYS_OUT, ids=lambda one: "".join(one) or "terminal")
def test_every_command_says_so_and_writes_nothing(
    words: list[str], output: str, folder: Path, tmp_path: Path
) -> None:
    given = ["--clean", CLEAN, "--corrupt", CORRUPT, "--answer", " Mary", "--wrong", " John"]
    if words == TRACE:
        given[:4] = ["--prompt", CLEAN]
    if output == "--intervals":
        pairs = tmp_path / "pairs.jsonl"
        other = PAIR.model_copy(update={"clean": CORRUPT, "corrupt": CLEAN})
        pairs.write_text("".join(f"{one.model_dump_json()}\n" for one in (PAIR, other)))
        given = ["--pairs", str(pairs)]
    drawn = tmp_path / "out.png"
    asked = {"--json": ["-"], "--csv": ["-"], "--plot": [str(drawn)]}.get(output, [])
    done = patchwright(*words, *given, *filter(None, [output]), *asked, "--model", str(folder))
    assert (done.returncode, done.stdout) == (1, ""), done.stderr
    assert SAID in done.stderr
    assert "Traceback" not in done.stderr
    assert not drawn.exists()


@pytest.mark.parametrize("method", NAMES)
def test_over_http_the_job_has_failed(method: str, damaged: pw.Model) -> None:
    experiment = every_experiment(model=damaged.name)[method]
    with client_of(damaged) as client:
        answer = client.post("/v1/experiments", json=experiment.model_dump(mode="json"))
        if answer.status_code == 202:
            assert "event: failed" in client.get(answer.json()["events"]).text
            job = client.get(answer.headers["location"]).json()
            error, result = job["error"], job["result"]
        else:
            error, result = answer.json()["error"], None
        assert error["code"] == "non_finite"
        assert SAID in error["message"]
        assert result is None


def test_a_difference_of_finite_logits_that_is_infinite_is_the_same_error() -> None:
    gpt2 = random_gpt2(seed=0, dtype=torch.float32, tie_word_embeddings=False)
    model, pair = pw.wrap_model(gpt2), pair_of([1, 2, 3], [1, 2, 4])
    final = forward(model.network, [Row((1, 2, 3), 2)])[0].final
    read = ops.norm(final, model.network.norm_final)[0]
    with torch.no_grad():
        gpt2.lm_head.weight[7] = 2.5e38 * read.sign() / read.abs().sum()
        gpt2.lm_head.weight[11] = -gpt2.lm_head.weight[7]
    huge = pw.wrap_model(gpt2)
    assert bool(torch.isfinite(logits(huge.network, final)).all())
    with pytest.raises(NonFiniteError, match=SAID):
        pw.patch(huge, pair, "mlp_out")


def test_a_gradient_that_is_no_number_is_the_same_error(monkeypatch: pytest.MonkeyPatch) -> None:
    from patchwright.algorithms import attribution, circuits

    model, pair = pw.wrap_model(random_gpt2(seed=0)), pair_of([1, 2, 3], [1, 2, 4])

    def broken(*asked: Any) -> Any:
        taps = attribution_gradients(*asked)
        taps[0]["z"][1][0, 0, 0] = torch.nan
        return taps

    attribution_gradients = attribution.gradients
    monkeypatch.setattr(attribution, "gradients", broken)
    with pytest.raises(NonFiniteError, match=SAID):
        pw.attribute(model, pair, "z")
    found = torch.autograd.grad

    def infinite(*asked: Any) -> Any:
        return [slope * torch.inf for slope in found(*asked)]

    monkeypatch.setattr(circuits.torch.autograd, "grad", infinite)
    with pytest.raises(NonFiniteError, match=SAID):
        pw.edge_attribution(model, pair)
