"""The addresses of the HTTP interface."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from functools import partial
from typing import Annotated, Any, Literal

import numpy as np
from anyio import move_on_after
from anyio.to_thread import run_sync
from fastapi import APIRouter, Body, Depends, Path, Query, Request, Response
from fastapi.responses import JSONResponse
from fastapi.sse import EventSourceResponse, ServerSentEvent
from numpy.typing import NDArray

from patchwright.algorithms.batches import Progress
from patchwright.algorithms.result import Result
from patchwright.errors import ApiError, PromptError
from patchwright.figures.matplotlib_figures import image
from patchwright.insights import Insights
from patchwright.insights.explain import explained
from patchwright.model.load import Model
from patchwright.prompts.agreement import agreement
from patchwright.prompts.examples import examples, usual_bos
from patchwright.prompts.messages import user_says
from patchwright.prompts.pair import Pair, prompt_ids, prompt_notices
from patchwright.prompts.tokens import token_texts
from patchwright.server import schemas as says
from patchwright.server.openapi import BODY
from patchwright.server.service import ExperimentService, address_of
from patchwright.storage.export import csv_text

PULSE = 0.1
"""Seconds between two looks at a job whose events somebody reads."""

STOPPING = 2.0
"""Seconds that the answer to a DELETE waits for the job's end."""

Format = Literal["json", "csv", "png", "svg"]
KINDS: dict[str, Format] = {
    "application/json": "json",
    "text/csv": "csv",
    "image/png": "png",
    "image/svg+xml": "svg",
}
DRAWN = ("png", "svg")

router = APIRouter()


def problem(why: str) -> dict[str, Any]:
    """An error response in the OpenAPI description."""
    return {"model": says.Refusal, "description": why}


UNKNOWN: dict[int | str, Any] = {404: problem("No job or result with this id.")}
BUSY: dict[int | str, Any] = {
    429: {
        **problem("The queue is full, or too many event streams are open."),
        "headers": {
            "Retry-After": {
                "description": "Seconds to wait before asking again.",
                "schema": {"type": "integer"},
            }
        },
    }
}
UNREADABLE: dict[int | str, Any] = {
    503: problem("The run store cannot be read at the moment, or the work was stopped.")
}


def office_of(request: Request) -> ExperimentService:
    """The service of the app that answers."""
    return request.app.state.service


At = Annotated[ExperimentService, Depends(office_of)]
JobId = Annotated[
    str, Path(description="The job id that `POST /v1/experiments` returned.", max_length=80)
]


@router.post(
    "/v1/experiments",
    summary="Ask for an experiment",
    status_code=202,
    response_model=says.JobView,
    openapi_extra={"requestBody": BODY},
    responses={
        200: {"model": says.StoredResult, "description": "Its result is there."},
        202: {
            "description": "Accepted. Identical requests share one job while it runs.",
            "headers": {"Location": {"description": "The job.", "schema": {"type": "string"}}},
        },
        **BUSY,
        **UNREADABLE,
    },
    tags=["experiments"],
)
async def ask(request: Request, service: At) -> JSONResponse:
    """An experiment as JSON, as `patchwright patch … --experiment -` writes it."""
    body = await request.body()
    return await run_sync(_asked, body, service)


def _asked(body: bytes, service: ExperimentService) -> JSONResponse:
    experiment = service.methods.parse(body)
    if not service.stored(experiment):
        job = service.view(service.ask(experiment))
        if job.state != "done":
            where = {"Location": f"/v1/jobs/{job.id}"}
            return JSONResponse(job.model_dump(mode="json"), 202, where)
    kept = says.StoredResult(hash=experiment.hash, result=address_of(experiment.hash))
    return JSONResponse(kept.model_dump(mode="json"))


@router.get("/v1/jobs/{job}", summary="Get a job", responses=UNKNOWN | UNREADABLE, tags=["jobs"])
def job_seen(job: JobId, service: At) -> says.JobView:
    """A job and how far it is; for 30 days also one of an earlier server process."""
    return service.view(job)


@router.delete(
    "/v1/jobs/{job}", summary="Stop a job", responses=UNKNOWN | UNREADABLE, tags=["jobs"]
)
async def job_stopped(job: JobId, service: At) -> says.JobView:
    """Stop a job for everybody who asked for it. What is finished is kept, and `message` says how much.

    A job that is over stays as it is.
    """
    view = await run_sync(service.stop, job)
    with move_on_after(STOPPING):
        while view.state == "stopping":
            await asyncio.sleep(PULSE)
            view = await run_sync(service.view, job)
    return view


def followed(job: JobId, service: At) -> Iterator[says.JobView]:
    """The job of an address from before its stream begins until it has ended, or is left."""
    with service.followed(job) as view:
        yield view


@router.get(
    "/v1/jobs/{job}/events",
    summary="Follow a job",
    response_class=EventSourceResponse,
    responses=UNKNOWN | BUSY | UNREADABLE,
    tags=["jobs"],
)
async def job_events(
    start: Annotated[says.JobView, Depends(followed)], service: At
) -> AsyncIterator[ServerSentEvent]:
    """Server-sent events: `progress` with new cells, then one of `done`, `stopped`, `failed`, `lost`.

    The data of `progress` is {"job", "cells"}, that of the last event the job. The stream
    ends with it. Who comes late, or again, gets all cells that are finished by then.
    """
    job, told, state = service.job(start.id), None, (False, False)
    first = True
    before: NDArray[np.float64] | None = None
    while job is not None and not job.over and not service.closing:
        progress, now = job.progress, (job.running, job.stopping)
        if first or progress is not told or now != state:
            first, told, state, view = False, progress, now, service.view(start.id)
            cells = [] if progress is None else _changed(before, progress)
            before = before if progress is None else progress.patched
            yield _event("progress", says.Event(job=view, cells=cells))
        await asyncio.sleep(PULSE)
    if job is not None and job.progress is not None and job.progress is not told:
        cells = _changed(before, job.progress)
        yield _event("progress", says.Event(job=service.view(start.id), cells=cells))
    end = start if job is None else service.view(start.id)
    yield _event(end.state, end)


def _changed(before: NDArray[np.float64] | None, now: Progress) -> list[tuple[list[int], float]]:
    """The cells that have another value than before: their index along each axis, and it."""
    values = now.patched
    fresh = np.isfinite(values)
    if before is not None and before.shape == values.shape:
        fresh &= values != before
    at = np.argwhere(fresh).tolist()
    return list(zip(at, values[fresh].tolist(), strict=True))


def _event(name: str, data: says.JobView | says.Event) -> ServerSentEvent:
    return ServerSentEvent(event=name, data=data)


def wanted(
    request: Request,
    format: Annotated[
        Format | None,
        Query(description="Overrides the Accept header; json if neither is given."),
    ] = None,
) -> Format:
    """The kind of file that a request wants. Raises ApiError where there is none of it."""
    if format is not None:
        return format
    accepted = [one.partition(";") for one in request.headers.get("accept", "*/*").split(",")]
    for kind, _, _ in sorted(accepted, key=lambda one: -_quality(one[2])):
        for name, found in KINDS.items():
            family = name.partition("/")[0]
            if kind.strip().lower() in (name, f"{family}/*", "*/*"):
                return found
    raise ApiError(
        406,
        "not_acceptable",
        f"A result is {', '.join(KINDS)}: accept one of them, or add ?format=json, csv, png or svg.",
    )


def _quality(parameters: str) -> float:
    """The weight in `;q=0.5`; 1 where none stands there."""
    with suppress(ValueError):
        return float(parameters.replace(" ", "").partition("q=")[2] or 1)
    return 0.0


@router.get(
    "/v1/results/{hash}",
    summary="Get a result",
    response_class=Response,
    responses={
        200: {
            "description": "A stopped one has the warning `stopped`, and cells that are null.",
            "content": {
                "application/json": {"schema": {"type": "object"}},
                "text/csv": {"schema": {"type": "string"}},
                "image/png": {"schema": {"type": "string", "contentMediaType": "image/png"}},
                "image/svg+xml": {"schema": {"type": "string"}},
            },
        },
        406: problem("None of the kinds that there are is accepted."),
        **UNKNOWN,
        **BUSY,
        **UNREADABLE,
    },
    tags=["experiments"],
)
async def result(
    hash: Annotated[str, Path(description="The experiment's hash.", max_length=80)],
    kind: Annotated[Format, Depends(wanted)],
    service: At,
) -> Response:
    """As JSON (the same as `--json` writes), a table as CSV, or its figure as PNG or SVG."""
    found = await run_sync(service.result, hash)
    write = partial(_written, found, kind)
    content = await (service.drawing.do(write) if kind in DRAWN else run_sync(write))
    media = next(name for name, one in KINDS.items() if one == kind)
    headers = {"Vary": "Accept"}
    return Response(content, media_type=media, headers=headers)


def _written(found: Result, kind: Format) -> str | bytes:
    if kind == "json":
        return found.to_json()
    if kind == "csv":
        return csv_text(found)
    return image(found, kind)


@router.get("/v1/models", summary="List the models", tags=["about"])
def models(service: At) -> says.Models:
    """The models that the server was started with. No request loads another one."""
    return says.Models(models=[_served(one) for one in service.models.values()])


def _served(model: Model) -> says.ServedModel:
    spec = model.spec
    return says.ServedModel(
        name=model.name,
        revision=model.revision,
        source=model.source,
        family=spec.family,
        layers=spec.n_layers,
        heads=spec.n_heads,
        kv_heads=spec.n_kv_heads,
        d_model=spec.d_model,
        d_mlp=spec.d_mlp,
        context=spec.n_context,
        vocabulary=model.n_tokens,
        dtype=model.dtype,
        device=str(model.device),
        fingerprint=model.fingerprint,
    )


@router.get("/v1/tokens", summary="Tokenize a prompt", tags=["about"])
def tokens(
    text: Annotated[str, Query(description="The prompt.", min_length=1, max_length=10_000)],
    service: At,
    model: Annotated[str | None, Query(description="Defaults to the first model.")] = None,
    bos: Annotated[bool, Query(description="Put the beginning-of-text token first.")] = True,
    chat: Annotated[bool, Query(description="The prompt is what a user says in a chat.")] = False,
    system: Annotated[
        str, Query(description="A system message before it; means chat.", max_length=10_000)
    ] = "",
) -> says.Tokens:
    """How a model splits a prompt. Positions in experiments count these tokens."""
    chosen = service.model_called(model)
    prompt = user_says(text, system) if chat or system else text
    ids = prompt_ids(prompt, chosen.tokenizer, bos)
    if len(ids) > service.limits.tokens:
        raise PromptError(
            f"The prompt has {len(ids)} tokens, and this server takes at most "
            f"{service.limits.tokens}: shorten it."
        )
    texts = token_texts(ids, chosen.tokenizer)
    listed = [
        says.Token(position=at, id=one, text=shown)
        for at, (one, shown) in enumerate(zip(ids, texts, strict=True))
    ]
    warnings = [one["message"] for one in prompt_notices([prompt], chosen.tokenizer, bos)]
    return says.Tokens(model=chosen.name, tokens=listed, warnings=warnings)


@router.get("/v1/examples", summary="List the example pairs", tags=["about"])
def example_library() -> says.Examples:
    """Use `pair` as an experiment's `pairs`, and `bos` of the model as its `bos`."""
    return says.Examples(
        examples=[
            says.ExampleView(
                id=one.id,
                title=one.title,
                task=one.task,
                look_for=one.look_for,
                seen=one.seen,
                models=list(one.models),
                metric=one.metric,
                pair=_shown(one.pair),
                bos={name: usual_bos(name) for name in one.models},
            )
            for one in examples()
        ]
    )


def _shown(pair: Pair) -> says.ExamplePair:
    answers, wrongs = ([str(one) for one in some] for some in (pair.answers, pair.wrongs))
    return says.ExamplePair(
        clean=str(pair.clean),
        corrupt=str(pair.corrupt),
        answer=answers,
        wrong=wrongs,
        align=pair.align,
    )


@router.post(
    "/v1/agreement",
    summary="Explain a verb's number",
    responses=BUSY | UNREADABLE,
    tags=["experiments"],
)
async def agreement_shown(
    asked: Annotated[says.AgreementAsked, Body()], service: At
) -> says.Agreement:
    """One sentence in; out, which words decide the number of its verb, and through which heads.

    The sentence becomes a pair (its subject in the other number), the pair is patched, and
    fixed rules put into words what that shows: no language model.
    """
    return await service.analysing.do(partial(_analysed, asked, service))


def _analysed(asked: says.AgreementAsked, service: ExperimentService) -> says.Agreement:
    model = service.model_called(asked.model)
    pair = agreement(asked.sentence, model.tokenizer, asked.align)
    stream, said = explained(model, pair, do=service.do)
    hash_ = service.methods.parse(stream.experiment).hash
    role = pair.roles[0]
    return says.Agreement(
        model=model.name,
        clean=str(pair.clean),
        corrupt=str(pair.corrupt),
        answer=str(pair.answers[0]),
        wrong=str(pair.wrongs[0]),
        subject=str(pair.clean)[role.start : role.stop],
        **_sentences(said),
        hash=hash_,
        result=address_of(hash_),
    )


def _sentences(said: Insights) -> dict[str, Any]:
    return {
        name: [says.Sentence(code=one.code, text=one.text, place=one.place) for one in some]
        for name, some in (("steps", said.steps), ("cautions", said.cautions))
    }


@router.get("/healthz", summary="Liveness", tags=["health"])
async def health() -> says.Health:
    """Needs no token."""
    return says.Health()


@router.get(
    "/readyz",
    summary="Readiness",
    responses={503: problem("The queue is full, or the run store cannot be read.")},
    tags=["health"],
)
def ready(service: At) -> says.Health:
    """Models are loaded before the server listens. Needs no token."""
    service.check_ready()
    return says.Health()
