"""Experiments in the OpenAPI description: pydantic's own schema of them."""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from patchwright.experiment.registry import Methods

WHERE = "#/components/schemas/{model}"
BODY = {
    "required": True,
    "content": {"application/json": {"schema": {"$ref": WHERE.format(model="Experiment")}}},
}
"""The request body of an experiment, which the methods read and not FastAPI."""

REFUSED = {"application/json": {"schema": {"$ref": WHERE.format(model="Refusal")}}}


def describe(app: FastAPI, methods: Methods, with_token: bool) -> None:
    """Have the app's description include experiments, and the token where one is needed."""

    def whole() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _described(app, methods, with_token)
        return app.openapi_schema

    app.openapi = whole  # ty: ignore


def _described(app: FastAPI, methods: Methods, with_token: bool) -> dict[str, Any]:
    document = get_openapi(
        title=app.title,
        version=app.version,
        summary=app.summary,
        description=app.description,
        routes=app.routes,
        license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
    )
    for operation in (one for some in document["paths"].values() for one in some.values()):
        for status, answer in operation["responses"].items():
            if status >= "400":
                # FastAPI says that they are of the kind of a success, such as an event stream.
                answer["content"] = REFUSED
    experiments = methods.schema(WHERE)
    parts = document["components"]
    parts["schemas"] |= experiments.pop("$defs")
    parts["schemas"]["Experiment"] = experiments
    if with_token:
        parts["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
        document["security"] = [{"token": []}]
    return document
