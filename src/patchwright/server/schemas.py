"""The bodies of answers and requests, as JSON and in the OpenAPI description."""

from typing import Literal

from pydantic import BaseModel, Field

State = Literal["waiting", "running", "stopping", "done", "stopped", "failed", "lost"]


class ErrorBody(BaseModel):
    """An error: a code for programs, a sentence for people."""

    code: str = Field(examples=["prompt"])
    message: str


class Refusal(BaseModel):
    """The body of every answer with an error status."""

    error: ErrorBody


class StoredResult(BaseModel):
    """The experiment is already computed; its result is at `result`."""

    state: Literal["done"] = "done"
    hash: str = Field(description="The experiment's hash.")
    result: str = Field(description="The address of its result.")


class JobView(BaseModel):
    """A job and how far it is.

    `lost`: the server ended before the job did. `stopped`: by `DELETE`, by the server's time
    limit, or because the server shut down; `result` is then the part that was finished, if any.
    """

    id: str
    state: State
    hash: str = Field(description="The experiment's hash.")
    model: str
    created: str = Field(description="In UTC, ISO 8601.")
    ended: str | None
    ahead: int = Field(description="Jobs ahead of this one in the queue.")
    done: int = Field(description="Finished cells (of circuits: passes, or circuits).")
    total: int | None = Field(description="Total number of cells; null until known.")
    seconds_left: float | None = Field(description="Estimated seconds remaining; null if unknown.")
    result: str | None = Field(
        description="The address of the result, or of the finished part of it."
    )
    events: str = Field(description="The address of its event stream.")
    message: str | None = Field(description="Why it was stopped, failed or is lost.")
    error: ErrorBody | None = Field(description="Why it failed.")


class ServedModel(BaseModel):
    """A model that experiments may name."""

    name: str
    revision: str | None
    source: str
    family: str
    layers: int
    heads: int
    kv_heads: int = Field(description="Heads of keys and values: the rows of sweeps over k and v.")
    d_model: int
    d_mlp: int
    context: int = Field(description="The longest prompt, in tokens.")
    vocabulary: int
    dtype: str
    device: str
    fingerprint: str = Field(description="SHA-256 over weights, precision and tokenizer.")


class Models(BaseModel):
    """All models of this server."""

    models: list[ServedModel]


class Token(BaseModel):
    """One token of a prompt."""

    position: int
    id: int
    text: str


class Tokens(BaseModel):
    """A prompt as the model reads it."""

    model: str
    tokens: list[Token]
    warnings: list[str] = Field(
        description="Notes about tokens that the tokenizer added, or could not represent."
    )


class ExamplePair(BaseModel):
    """The prompts and answers of an example, as an experiment's `pairs` takes them."""

    clean: str
    corrupt: str
    answer: list[str]
    wrong: list[str]
    align: str


class ExampleView(BaseModel):
    """A pair to start from, what to look for in it, and by model what its sweeps show.

    `bos` is, by model, the experiment's `bos` with which that was seen.
    """

    id: str
    title: str
    task: str
    look_for: str
    seen: dict[str, str]
    models: list[str]
    bos: dict[str, bool]
    metric: str
    pair: ExamplePair


class Examples(BaseModel):
    """The example library."""

    examples: list[ExampleView]


class Sentence(BaseModel):
    """One sentence of an explanation. Fixed rules write it, not a language model."""

    code: str = Field(description="The rule that wrote it.")
    text: str
    place: str | None = Field(description="The place that the sentence is about, if any.")


class Agreement(BaseModel):
    """The analysis of one sentence: which pair it gave, and what patching it shows."""

    model: str
    clean: str
    corrupt: str
    answer: str
    wrong: str
    subject: str = Field(description="The word whose number was changed.")
    steps: list[Sentence] = Field(description="What the model does, in order.")
    cautions: list[Sentence] = Field(description="When not to trust it.")
    hash: str = Field(description="The hash of the sweep of the residual stream.")
    result: str = Field(description="The address of that sweep.")


class AgreementAsked(BaseModel, extra="forbid"):
    """A sentence whose verb is to be predicted."""

    sentence: str = Field(
        min_length=1,
        max_length=2000,
        examples=["The keys to the cabinet are on the table"],
        description="A sentence with is/are, was/were, has/have or does/do after its subject.",
    )
    model: str | None = Field(None, description="Defaults to the server's first model.")
    align: Literal["exact", "edges"] = Field(
        "exact", description="Use edges where singular and plural have different numbers of tokens."
    )


class Health(BaseModel):
    """The server answers."""

    status: Literal["ok"] = "ok"


class Event(BaseModel):
    """The data of a `progress` event: the job, and the cells that are new or have changed.

    `cells` are [index along each axis of the method's values, value]; for a sweep the
    axes are pair, then the result's `dims`.
    """

    job: JobView
    cells: list[tuple[list[int], float]]
