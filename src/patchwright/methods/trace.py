"""Causal tracing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, cast

from pydantic import BeforeValidator, Field

from patchwright.axes import BUDGET, Metric
from patchwright.errors import printable_text
from patchwright.experiment.base import CellByCell
from patchwright.experiment.cost import runs_per_cell
from patchwright.experiment.declaration import Cost, Output, Seed
from patchwright.experiment.questions import Contest, contest_of
from patchwright.places import SITE_TABLE
from patchwright.prompts.pair import Answers, Prompt
from patchwright.spelling import sentence_case
from patchwright.validation import Whole

if TYPE_CHECKING:
    import xarray as xr

    from patchwright.algorithms.batches import OnProgress, Progress
    from patchwright.algorithms.result import Baseline, Result
    from patchwright.algorithms.tracing import TraceValues
    from patchwright.experiment.assembly import RawResult, RunContext
    from patchwright.model.load import Model
    from patchwright.prompts.pair import TokenPair
    from patchwright.warnings import Notice

Answer = str | int | Sequence[str] | Sequence[int]

TraceSite = Literal["resid_post", "mlp_out", "attn_out"]

SeverSite = Literal["mlp_out", "attn_out"]

_PANELS: dict[TraceSite, str] = {
    "resid_post": "Hidden state",
    "mlp_out": "MLP",
    "attn_out": "Attention",
}

MOST_SUBJECT = 40
"""Characters of a subject that a title names."""

READ_AT_ONCE = 64
"""Runs whose logits are there at one time when baselines are read."""

KEPT_PER_TOKEN = 6
"""Vectors of a noisy run that tracing keeps at each layer and token, about."""


class Trace(CellByCell):
    """Noise is added to the subject's embeddings, and clean activations are restored, one
    place at a time.

    `subject` is a text of the prompt, or positions. Source: Meng et al. 2022.
    """

    # 2: the subject is found by its characters.
    numbers: ClassVar[int] = 2
    main: ClassVar[str] = "effect"
    centred: ClassVar[bool] = True
    summary: ClassVar[str] = "Causal tracing: noise on a subject, then clean places restored."

    method: Literal["trace"] = "trace"
    metric: Metric = Field(default="probability", title="Metric", description="As for patch.")
    prompt: Prompt = Field(
        title="Prompt", description="The prompt that the model answers correctly."
    )
    subject: str | tuple[Whole, ...] = Field(
        title="Subject", description="The words of the prompt that get noise."
    )
    occurrence: int = Field(
        default=1,
        title="Occurrence",
        description="Which occurrence, if the words occur several times.",
    )
    answer: Answers = Field(title="Answer", description="Right next token.")
    wrong: Answers = Field(default=(), title="Wrong answer", description="Competing next token.")
    noise: float = Field(
        default=3.0,
        title="Noise",
        description="In standard deviations of the subject's embeddings.",
    )
    samples: int = Field(default=10, title="Samples", description="Draws of the noise.")
    window: int = Field(default=1, title="Window", description="Layers restored around each layer.")
    site: TraceSite = Field(
        default="resid_post",
        title="Site",
        description="What is restored.",
    )
    seed: Seed = 0
    sever: Annotated[
        SeverSite | None, BeforeValidator(lambda given: "mlp_out" if given == "mlp" else given)
    ] = Field(
        default=None,
        title="Sever",
        description="Freeze mlp (mlp_out) or attn_out at the noisy run's values.",
    )
    direction: Literal["denoise"] = "denoise"  # pyright: ignore[reportIncompatibleVariableOverride]

    @property
    def prompts_read(self) -> Sequence[Prompt]:
        """The one prompt."""
        return [self.prompt]

    @property
    def output(self) -> Output:
        """Means over the samples of every place, their spread, and the samples themselves."""
        place = ("layer", "position")
        return Output(
            {
                **dict.fromkeys(("patched", "effect", "spread"), place),
                "samples": ("sample", *place),
            },
            details=frozenset({"sigma", "subject", "subject_tokens"}),
        )

    def title(self, result: Result) -> str:
        """What was restored after noise on what."""
        return self._title_text(result, f"{SITE_TABLE[self.site].phrase} of the clean run")

    @property
    def question(self) -> str:
        """What brings the answer back: the same of all sites, which together are one trace."""
        subject = (
            f"“{printable_text(self.subject)}”" if isinstance(self.subject, str) else "the subject"
        )
        return f"Which layers, at which tokens, bring back {self.contest.answer} after noise on {subject}?"

    @property
    def contest(self) -> Contest:
        """The answer of the prompt, and a wrong one if there is one to compare with."""
        answers, wrongs = (cast("Sequence[object]", one) for one in (self.answer, self.wrong))
        return contest_of(answers, wrongs)

    def panels_title(self, result: Result) -> str:
        """The title of a figure that has traces of several sites."""
        return self._title_text(result, "activations of the clean run")

    def _title_text(self, result: Result, restored: str) -> str:
        from patchwright.algorithms.scale import measure_label
        from patchwright.prompts.tokens import visible

        texts = result.position_tokens or ()
        shown = "".join(texts[int(i)] for i in result.details.get("subject", []))
        shown = visible(shown.strip()).replace("·", " ")
        shown = shown if len(shown) <= MOST_SUBJECT else f"{shown[:MOST_SUBJECT]}…"
        subject = f" on “{shown}”" if shown else ""
        return sentence_case(f"{measure_label(result)} by {restored}, after noise{subject}")

    def note(self, result: Result) -> str:
        """The noise, and how much was restored at once."""
        severed = f" {_PANELS[self.sever]} severed." if self.sever else ""
        at_once = f"{self.window} layers" if self.window > 1 else "one layer"
        return (
            f"Noise of {self.noise:g} standard deviations of the subject's embeddings, mean of "
            f"{self.samples} samples; {at_once} restored at a time.{severed}"
        )

    @property
    def panel_title(self) -> str:
        """What its panel is called beside those of the other sites."""
        layers = f" ({self.window} layers at a time)" if self.window > 1 else ""
        return f"{_PANELS[self.site]}{layers}"

    def tokens(self, model: Model) -> list[TokenPair]:
        """The prompt, as a pair of the same prompt twice."""
        from patchwright.algorithms.metrics import check_answers
        from patchwright.prompts.pair import tokenize_prompt

        prompt = tokenize_prompt(
            self.prompt,
            self.answer,
            self.wrong,
            model.tokenizer,
            n_vocab=model.n_tokens,
            n_context=model.spec.n_context,
            bos=self.bos,
        )
        check_answers(self.metric, prompt)
        return [prompt]

    def cost(self, tokens: Sequence[TokenPair], model: Model) -> Cost:
        """A run a cell and sample; what the noisy runs keep."""
        (prompt,) = tokens
        n, n_layers = len(prompt.clean), model.spec.n_layers
        kept = self.samples * n * KEPT_PER_TOKEN * n_layers * model.spec.d_model * 4
        return Cost(self.samples * n_layers * n * runs_per_cell(prompt), memory=kept)

    def compute(self, work: RunContext, tokens: list[TokenPair]) -> RawResult:
        """`patched`: the mean over samples; their `spread`; the `samples` themselves."""
        import numpy as np

        from patchwright.algorithms.pair_runs import mean_baseline
        from patchwright.algorithms.tracing import TraceOptions, trace
        from patchwright.experiment.assembly import RawResult, stopped_notice
        from patchwright.prompts.subject import find_subject

        model, (prompt,) = work.model, tokens
        subject = find_subject(
            self.prompt, prompt.clean, model.tokenizer, self.subject, self.occurrence
        )
        drawn = self.noise, self.samples, self.seed
        asked = TraceOptions(self.site, self.metric, *drawn, self.window, self.sever)
        traced = trace(model.network, prompt, asked, subject.positions, work.progress, work.budget)
        # Samples that came in turn may have been stopped between two turns: no place has them all.
        over = np.arange(self.samples)
        notices: list[Notice] = [*subject.notices]
        whole = np.flatnonzero(np.isfinite(traced.values).all(axis=(1, 2)))
        if bool(np.isnan(traced.values).any(axis=0).all()) and whole.size:
            over = whole
            notices.append(
                stopped_notice(f"{whole.size} of {self.samples} samples: means are over these.")
            )
        clean, *noisy = self._baselines(traced, over.tolist(), work)
        details = {
            "sigma": traced.sigma,
            "subject": list(subject.positions),
            "subject_tokens": [prompt.clean_texts[i] for i in subject.positions],
        }
        arrays = {
            name: array.expand_dims("pair")
            for name, array in _sample_arrays(traced.values, over).items()
        }
        done = int(arrays["patched"].notnull().sum())
        return RawResult(
            [prompt],
            [clean],
            [mean_baseline(noisy)],
            arrays,
            done,
            details=details,
            notices=notices,
        )

    def _baselines(
        self, traced: TraceValues, over: Sequence[int], work: RunContext
    ) -> list[Baseline]:
        """Of the clean run, then of the noisy one of each sample."""
        from patchwright.algorithms.pair_runs import baselines, stack_finals

        asked = [traced.clean, *(traced.noisy[i] for i in over)]
        parts = [asked[i : i + READ_AT_ONCE] for i in range(0, len(asked), READ_AT_ONCE)]
        read = (traced.reader.readout(stack_finals(part)) for part in parts)
        return [one for some in read for one in baselines(some, self.metric, work.token_text)]

    def for_site(self, site: str) -> Trace:
        """The same trace of another site: what it restores is not severed, one layer of the stream."""
        sever = None if self.sever == site else self.sever
        window = 1 if site == "resid_post" else self.window
        return Trace.of({**self.model_dump(), "site": site, "sever": sever, "window": window})

    def for_stream(self) -> Trace:
        """The same noise and metric, with the stream restored: its unpatched runs serve all sites."""
        return self.model_copy(update={"site": "resid_post", "window": 1, "sever": None})

    def run_unpatched(self, model: Model) -> Result:
        """Clean and noisy runs: they are those of a trace that is stopped before its first cell."""
        from dataclasses import replace

        from patchwright.experiment.run import run

        found = run(self, model, lambda _: False)
        warnings = [notice for notice in found.warnings if notice["code"] != "stopped"]
        return replace(found, arrays={}, warnings=warnings)

    def partial_arrays(
        self, unpatched: Result, model: Model, now: Progress | None
    ) -> dict[str, xr.DataArray]:
        """Means and spreads over the samples of the places that all samples have."""
        import numpy as np

        n_samples, n_positions = len(unpatched.corrupt.pairs), len(unpatched.tokens["clean"])
        shape = (n_samples, model.spec.n_layers, n_positions)
        values = np.full(shape, np.nan) if now is None else now.patched.copy()
        return _sample_arrays(values, np.arange(n_samples))

    def cells_done(self, patched: xr.DataArray, now: Progress | None) -> int:
        """How many cells have all their samples."""
        return int(patched.notnull().sum())


def _sample_arrays(values: Any, over: Any) -> dict[str, xr.DataArray]:
    """Mean and spread over some samples of values [sample, layer, position], and the samples."""
    import xarray as xr

    dims = ("sample", "layer", "position")
    coords = {dim: range(size) for dim, size in zip(dims, values.shape, strict=True)}
    samples = xr.DataArray(values, dims=list(dims), coords=coords, name="samples")
    meant = samples.isel(sample=over)
    ddof = 1 if len(over) > 1 else 0
    return {
        "patched": meant.mean("sample", skipna=False).rename("patched"),
        "spread": meant.std("sample", ddof=ddof, skipna=False).rename("spread"),
        "samples": samples,
    }


def trace(
    model: Model,
    prompt: Prompt,
    subject: str | Sequence[int],
    answer: Answer,
    wrong: Answer = (),
    noise: float = 3.0,
    samples: int = 10,
    window: int = 1,
    site: str = "resid_post",
    metric: str = "probability",
    seed: int = 0,
    sever: str | None = None,
    occurrence: int = 1,
    bos: bool = True,
    progress: OnProgress | None = None,
    budget: int = BUDGET,
) -> Result:
    """Causal tracing: noise on the subject, clean activations restored at each place.

    `subject` is a text of the prompt (its `occurrence`-th, from 1; only whole words where
    there are any) or positions; `details["subject"]` has the positions of its tokens,
    `details["subject_tokens"]` their texts.
    `patched` is the mean over `samples` of the metric, dims (layer, position);
    `arrays["spread"]` its standard deviation, `arrays["samples"]` each sample's;
    `details["sigma"]` the standard deviation of the subject's embeddings, of which
    the noise's is `noise` times. `corrupt` is the mean of the noisy runs. With
    `window` > 1 that many layers around each are restored; `sever` freezes `mlp`
    (it means `mlp_out`, as the experiment has it) or `attn_out` at the noisy run's
    values. Source: Meng et al. 2022.
    """
    return Trace.call(**locals())
