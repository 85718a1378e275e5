"""Every failure as one document: {"error": {"code", "message"}}; never a traceback."""

import logging
import re
from collections.abc import Mapping, Sequence

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException

from patchwright.errors import (
    ApiError,
    InputError,
    PatchwrightError,
    QueueFullError,
    StoreError,
    UnknownRunError,
)

_log = logging.getLogger(__name__)

RETRY_HEADERS = {"Retry-After": "10"}
"""The header with the seconds after which one who was turned away may ask again."""

STATUS_OF: dict[type[PatchwrightError], int] = {
    QueueFullError: 429,
    UnknownRunError: 404,
    InputError: 422,
    StoreError: 503,
    PatchwrightError: 500,
}
"""The status of an error: that of the first class here that it is of."""

INTERNAL_MESSAGE = (
    "This should not have happened, and nothing was changed: ask again, or for something else. "
    "The server's log has the details."
)
HTTP_ERROR_CODES = {404: "not_found", 405: "method_not_allowed"}
HTTP_ERROR_MESSAGES = {
    404: "There is nothing at this address: /openapi.json lists those that there are.",
    405: "This address does not take this method: /openapi.json says which it takes.",
}


def error_code(error: PatchwrightError) -> str:
    """The code of an error, from its class: PromptError is 'prompt'."""
    if isinstance(error, ApiError):
        return error.code
    if isinstance(error, QueueFullError):
        return "busy"  # Published before the class had its name.
    name = type(error).__name__.removesuffix("Error")
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower() if name != "Patchwright" else "internal"


def error_response(
    status: int, code: str, message: str, headers: Mapping[str, str] | None = None
) -> JSONResponse:
    """The answer that says what was wrong."""
    # Half a surrogate pair may stand in what was asked, and is no UTF-8.
    said = message.encode("utf-8", "replace").decode()
    return JSONResponse({"error": {"code": code, "message": said}}, status, headers)


def response_of(error: PatchwrightError) -> JSONResponse:
    """The answer to what one of ours says is wrong."""
    if isinstance(error, ApiError):
        status, headers = error.status, error.headers
    else:
        status = next(one for kind, one in STATUS_OF.items() if isinstance(error, kind))
        headers = RETRY_HEADERS if status in (429, 503) else None
    if error.public != str(error):
        _log.warning("%s", error)
    return error_response(status, error_code(error), error.public, headers)


def add_error_handlers(app: FastAPI) -> None:
    """Have every failure of the app answered so."""

    def handle_patchwright_error(_: Request, error: Exception) -> Response:
        assert isinstance(error, PatchwrightError), error
        return response_of(error)

    def handle_invalid_request(_: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError), error
        return error_response(422, "request", _validation_message(error.errors()))

    def handle_http_error(_: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException), error
        if error.status_code == 400:  # FastAPI's word for bytes that are no text
            return error_response(422, "request", "The body is not JSON in UTF-8: send it so.")
        said = HTTP_ERROR_MESSAGES.get(error.status_code, str(error.detail))
        code = HTTP_ERROR_CODES.get(error.status_code, "request")
        return error_response(error.status_code, code, said, error.headers)

    def handle_unexpected_error(_: Request, __: Exception) -> Response:
        # The server logs it.
        return error_response(500, "internal", INTERNAL_MESSAGE)

    app.add_exception_handler(PatchwrightError, handle_patchwright_error)
    app.add_exception_handler(RequestValidationError, handle_invalid_request)
    app.add_exception_handler(HTTPException, handle_http_error)
    app.add_exception_handler(Exception, handle_unexpected_error)


def _validation_message(errors: Sequence[Mapping[str, object]]) -> str:
    """The first thing that is wrong with a request's fields, and where."""
    where = errors[0].get("loc")
    names = [str(one) for one in where[1:]] if isinstance(where, Sequence) else []
    path = ".".join(names)
    field = f"The field '{path}'" if names else "The request"
    return f"{field}: {str(errors[0].get('msg')).rstrip('.')}."
