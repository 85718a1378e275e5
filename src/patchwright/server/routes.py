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
from patchwright.figures.matplotlib_figures import image_bytes
from patchwright.insights import Insights
from patchwright.insights.explain import explain_pair
from patchwright.model.load import Model
from patchwright.prompts.agreement import agreement
from patchwright.prompts.examples import default_bos, examples
from patchwright.prompts.messages import user_chat
from patchwright.prompts.pair import Pair, prompt_ids, prompt_notices
from patchwright.prompts.tokens import token_texts
from patchwright.server import schemas
from patchwright.server.openapi import EXPERIMENT_BODY
from patchwright.server.service import ExperimentService, address_of
from patchwright.storage.export import csv_text

POLL_SECONDS = 0.1
"""Seconds between two looks at a job whose events somebody reads."""

STOP_TIMEOUT = 2.0
"""Seconds that the answer to a DELETE waits for the job's end."""

Format = Literal["json", "csv", "png", "svg"]
MEDIA_TYPES: dict[str, Format] = {
    "application/json": "json",
    "text/csv": "csv",
    "image/png": "png",
    "image/svg+xml": "svg",
}
IMAGE_FORMATS = ("png", "svg")

router = APIRouter()


def error_docs(why: str) -> dict[str, Any]:
    """An error response in the OpenAPI description."""
    return {"model": schemas.Refusal, "description": why}


NOT_FOUND: dict[int | str, Any] = {404: error_docs("No job or result with this id.")}
TOO_MANY_REQUESTS: dict[int | str, Any] = {
    429: {
        **error_docs("The queue is full, or too many event streams are open."),
        "headers": {
            "Retry-After": {
                "description": "Seconds to wait before asking again.",
                "schema": {"type": "integer"},
            }
        },
    }
}
SERVICE_UNAVAILABLE: dict[int | str, Any] = {
    503: error_docs("The run store cannot be read at the moment, or the work was stopped.")
}


def service_of(request: Request) -> ExperimentService:
    """The service of the app that answers."""
    return request.app.state.service


ServiceDep = Annotated[ExperimentService, Depends(service_of)]
JobId = Annotated[
    str, Path(description="The job id that `POST /v1/experiments` returned.", max_length=80)
]


@router.post(
    "/v1/experiments",
    summary="Ask for an experiment",
    status_code=202,
    response_model=schemas.JobView,
    openapi_extra={"requestBody": EXPERIMENT_BODY},
    responses={
        200: {"model": schemas.StoredResult, "description": "Its result is there."},
        202: {
            "description": "Accepted. Identical requests share one job while it runs.",
            "headers": {"Location": {"description": "The job.", "schema": {"type": "string"}}},
        },
        **TOO_MANY_REQUESTS,
        **SERVICE_UNAVAILABLE,
    },
    tags=["experiments"],
)
async def ask(request: Request, service: ServiceDep) -> JSONResponse:
    """An experiment as JSON, as `patchwright patch … --experiment -` writes it."""
    body = await request.body()
    return await run_sync(_submit_experiment, body, service)


def _submit_experiment(body: bytes, service: ExperimentService) -> JSONResponse:
    experiment = service.methods.parse(body)
    if not service.is_stored(experiment):
        job = service.view(service.submit(experiment))
        if job.state != "done":
            where = {"Location": f"/v1/jobs/{job.id}"}
            return JSONResponse(job.model_dump(mode="json"), 202, where)
    kept = schemas.StoredResult(hash=experiment.hash, result=address_of(experiment.hash))
    return JSONResponse(kept.model_dump(mode="json"))


@router.get(
    "/v1/jobs/{job}", summary="Get a job", responses=NOT_FOUND | SERVICE_UNAVAILABLE, tags=["jobs"]
)
def job_seen(job: JobId, service: ServiceDep) -> schemas.JobView:
    """A job and how far it is; for 30 days also one of an earlier server process."""
    return service.view(job)


@router.delete(
    "/v1/jobs/{job}", summary="Stop a job", responses=NOT_FOUND | SERVICE_UNAVAILABLE, tags=["jobs"]
)
async def job_stopped(job: JobId, service: ServiceDep) -> schemas.JobView:
    """Stop a job for everybody who asked for it. What is finished is kept, and `message` says how much.

    A job that is over stays as it is.
    """
    view = await run_sync(service.stop, job)
    with move_on_after(STOP_TIMEOUT):
        while view.state == "stopping":
            await asyncio.sleep(POLL_SECONDS)
            view = await run_sync(service.view, job)
    return view


def follow_job(job: JobId, service: ServiceDep) -> Iterator[schemas.JobView]:
    """The job of an address from before its stream begins until it has ended, or is left."""
    with service.follow_job(job) as view:
        yield view


@router.get(
    "/v1/jobs/{job}/events",
    summary="Follow a job",
    response_class=EventSourceResponse,
    responses=NOT_FOUND | TOO_MANY_REQUESTS | SERVICE_UNAVAILABLE,
    tags=["jobs"],
)
async def job_events(
    start: Annotated[schemas.JobView, Depends(follow_job)], service: ServiceDep
) -> AsyncIterator[ServerSentEvent]:
    """Server-sent events: `progress` with new cells, then one of `done`, `stopped`, `failed`, `lost`.

    The data of `progress` is {"job", "cells"}, that of the last event the job. The stream
    ends with it. Who comes late, or again, gets all cells that are finished by then.
    """
    job, told, state = service.job(start.id), None, (False, False)
    first = True
    before: NDArray[np.float64] | None = None
    while job is not None and not job.finished and not service.closing:
        progress, now = job.progress, (job.running, job.stopping)
        if first or progress is not told or now != state:
            first, told, state, view = False, progress, now, service.view(start.id)
            cells = [] if progress is None else _changed_cells(before, progress)
            before = before if progress is None else progress.patched
            yield _event("progress", schemas.Event(job=view, cells=cells))
        await asyncio.sleep(POLL_SECONDS)
    if job is not None and job.progress is not None and job.progress is not told:
        cells = _changed_cells(before, job.progress)
        yield _event("progress", schemas.Event(job=service.view(start.id), cells=cells))
    end = start if job is None else service.view(start.id)
    yield _event(end.state, end)


def _changed_cells(
    before: NDArray[np.float64] | None, now: Progress
) -> list[tuple[list[int], float]]:
    """The cells that have another value than before: their index along each axis, and it."""
    values = now.patched
    fresh = np.isfinite(values)
    if before is not None and before.shape == values.shape:
        fresh &= values != before
    at = np.argwhere(fresh).tolist()
    return list(zip(at, values[fresh].tolist(), strict=True))


def _event(name: str, data: schemas.JobView | schemas.Event) -> ServerSentEvent:
    return ServerSentEvent(event=name, data=data)


def requested_format(
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
        for name, found in MEDIA_TYPES.items():
            family = name.partition("/")[0]
            if kind.strip().lower() in (name, f"{family}/*", "*/*"):
                return found
    raise ApiError(
        406,
        "not_acceptable",
        f"A result is {', '.join(MEDIA_TYPES)}: accept one of them, or add ?format=json, csv, png or svg.",
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
        406: error_docs("None of the kinds that there are is accepted."),
        **NOT_FOUND,
        **TOO_MANY_REQUESTS,
        **SERVICE_UNAVAILABLE,
    },
    tags=["experiments"],
)
async def result(
    hash: Annotated[str, Path(description="The experiment's hash.", max_length=80)],
    kind: Annotated[Format, Depends(requested_format)],
    service: ServiceDep,
) -> Response:
    """As JSON (the same as `--json` writes), a table as CSV, or its figure as PNG or SVG."""
    found = await run_sync(service.result, hash)
    write = partial(_result_content, found, kind)
    content = await (service.drawing.run(write) if kind in IMAGE_FORMATS else run_sync(write))
    media = next(name for name, one in MEDIA_TYPES.items() if one == kind)
    headers = {"Vary": "Accept"}
    return Response(content, media_type=media, headers=headers)


def _result_content(found: Result, kind: Format) -> str | bytes:
    if kind == "json":
        return found.to_json()
    if kind == "csv":
        return csv_text(found)
    return image_bytes(found, kind)


@router.get("/v1/models", summary="List the models", tags=["about"])
def models(service: ServiceDep) -> schemas.Models:
    """The models that the server was started with. No request loads another one."""
    return schemas.Models(models=[_served_model(one) for one in service.models.values()])


def _served_model(model: Model) -> schemas.ServedModel:
    spec = model.spec
    return schemas.ServedModel(
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
    service: ServiceDep,
    model: Annotated[str | None, Query(description="Defaults to the first model.")] = None,
    bos: Annotated[bool, Query(description="Put the beginning-of-text token first.")] = True,
    chat: Annotated[bool, Query(description="The prompt is what a user says in a chat.")] = False,
    system: Annotated[
        str, Query(description="A system message before it; means chat.", max_length=10_000)
    ] = "",
) -> schemas.Tokens:
    """How a model splits a prompt. Positions in experiments count these tokens."""
    chosen = service.find_model(model)
    prompt = user_chat(text, system) if chat or system else text
    ids = prompt_ids(prompt, chosen.tokenizer, bos)
    if len(ids) > service.limits.tokens:
        raise PromptError(
            f"The prompt has {len(ids)} tokens, and this server takes at most "
            f"{service.limits.tokens}: shorten it."
        )
    texts = token_texts(ids, chosen.tokenizer)
    listed = [
        schemas.Token(position=at, id=one, text=shown)
        for at, (one, shown) in enumerate(zip(ids, texts, strict=True))
    ]
    warnings = [one["message"] for one in prompt_notices([prompt], chosen.tokenizer, bos)]
    return schemas.Tokens(model=chosen.name, tokens=listed, warnings=warnings)


@router.get("/v1/examples", summary="List the example pairs", tags=["about"])
def example_library() -> schemas.Examples:
    """Use `pair` as an experiment's `pairs`, and `bos` of the model as its `bos`."""
    return schemas.Examples(
        examples=[
            schemas.ExampleView(
                id=one.id,
                title=one.title,
                task=one.task,
                look_for=one.look_for,
                seen=one.seen,
                models=list(one.models),
                metric=one.metric,
                pair=_example_pair(one.pair),
                bos={name: default_bos(name) for name in one.models},
            )
            for one in examples()
        ]
    )


def _example_pair(pair: Pair) -> schemas.ExamplePair:
    answers, wrongs = ([str(one) for one in some] for some in (pair.answers, pair.wrongs))
    return schemas.ExamplePair(
        clean=str(pair.clean),
        corrupt=str(pair.corrupt),
        answer=answers,
        wrong=wrongs,
        align=pair.align,
    )


@router.post(
    "/v1/agreement",
    summary="Explain a verb's number",
    responses=TOO_MANY_REQUESTS | SERVICE_UNAVAILABLE,
    tags=["experiments"],
)
async def agreement_shown(
    asked: Annotated[schemas.AgreementAsked, Body()], service: ServiceDep
) -> schemas.Agreement:
    """One sentence in; out, which words decide the number of its verb, and through which heads.

    The sentence becomes a pair (its subject in the other number), the pair is patched, and
    fixed rules put into words what that shows: no language model.
    """
    return await service.analysing.run(partial(_explain_agreement, asked, service))


def _explain_agreement(
    asked: schemas.AgreementAsked, service: ExperimentService
) -> schemas.Agreement:
    model = service.find_model(asked.model)
    pair = agreement(asked.sentence, model.tokenizer, asked.align)
    stream, said = explain_pair(model, pair, do=service.run_and_wait)
    hash_ = service.methods.parse(stream.experiment).hash
    role = pair.roles[0]
    return schemas.Agreement(
        model=model.name,
        clean=str(pair.clean),
        corrupt=str(pair.corrupt),
        answer=str(pair.answers[0]),
        wrong=str(pair.wrongs[0]),
        subject=str(pair.clean)[role.start : role.stop],
        **_sentence_fields(said),
        hash=hash_,
        result=address_of(hash_),
    )


def _sentence_fields(said: Insights) -> dict[str, Any]:
    return {
        name: [schemas.Sentence(code=one.code, text=one.text, place=one.place) for one in some]
        for name, some in (("steps", said.steps), ("cautions", said.cautions))
    }


@router.get("/healthz", summary="Liveness", tags=["health"])
async def health() -> schemas.Health:
    """Needs no token."""
    return schemas.Health()


@router.get(
    "/readyz",
    summary="Readiness",
    responses={503: error_docs("The queue is full, or the run store cannot be read.")},
    tags=["health"],
)
def ready(service: ServiceDep) -> schemas.Health:
    """Models are loaded before the server listens. Needs no token."""
    service.check_ready()
    return schemas.Health()
