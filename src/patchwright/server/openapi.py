"""Experiments in the OpenAPI description: pydantic's own schema of them."""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from patchwright.experiment.registry import Methods

SCHEMA_REF = "#/components/schemas/{model}"
EXPERIMENT_BODY = {
    "required": True,
    "content": {"application/json": {"schema": {"$ref": SCHEMA_REF.format(model="Experiment")}}},
}
"""The request body of an experiment, which the methods read and not FastAPI."""

ERROR_CONTENT = {"application/json": {"schema": {"$ref": SCHEMA_REF.format(model="Refusal")}}}


def install_openapi(app: FastAPI, methods: Methods, with_token: bool) -> None:
    """Have the app's description include experiments, and the token where one is needed."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _openapi_document(app, methods, with_token)
        return app.openapi_schema

    app.openapi = openapi  # ty: ignore


def _openapi_document(app: FastAPI, methods: Methods, with_token: bool) -> dict[str, Any]:
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
                answer["content"] = ERROR_CONTENT
    experiments = methods.schema(SCHEMA_REF)
    parts = document["components"]
    parts["schemas"] |= experiments.pop("$defs")
    parts["schemas"]["Experiment"] = experiments
    if with_token:
        parts["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
        document["security"] = [{"token": []}]
    return document
