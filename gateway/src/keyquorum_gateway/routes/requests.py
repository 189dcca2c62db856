"""Reading requests: bodies and queries through their models, and the caller's patience."""

import re
from typing import Final, TypeVar

from aiohttp import web
from pydantic import BaseModel, ValidationError

from keyquorum_gateway.models.pages import PageQuery
from keyquorum_gateway.problems import FieldError, Problem
from keyquorum_gateway.services import SERVICES
from keyquorum_gateway.state.paging import InvalidPageToken, PageRequest, decode_token

M = TypeVar("M", bound=BaseModel)

_WAIT: Final = re.compile(r"(?:^|[\s,;])wait=(\d{1,4})(?:$|[\s,;])")
_DOMAIN_CODES: Final = frozenset({"invalid-amount"})
_ERRORS_MAX: Final = 32


async def parse_body(request: web.Request, model: type[M]) -> M:
    """The body as a model; 400 for what is not JSON, 422 with a pointer per wrong field."""
    try:
        return model.model_validate_json(await request.read() or b"")
    except ValidationError as error:
        raise _problem(error, "") from None


def parse_query(request: web.Request, model: type[M]) -> M:
    """The query as a model; a parameter that occurs twice is refused like an unknown one."""
    if not request.rel_url.raw_query_string:
        return model()
    query = request.rel_url.query
    values = {name: query.getall(name) for name in query}
    for name, occurrences in values.items():
        if len(occurrences) > 1:
            raise Problem("validation-failed", errors=[FieldError(f"?{name[:64]}", "repeated", "given more than once")])
    try:
        return model.model_validate({name: occurrences[0] for name, occurrences in values.items()})
    except ValidationError as error:
        raise _problem(error, "?") from None


def page_request(query: PageQuery) -> PageRequest:
    """Which page is asked for; 422 for a token that is not ours."""
    if query.page_token is None:
        return PageRequest(query.limit)
    try:
        return PageRequest(query.limit, decode_token(query.page_token))
    except InvalidPageToken as error:
        raise Problem(
            "validation-failed", errors=[FieldError("?page_token", "invalid-page-token", str(error))]
        ) from None


def wait_budget_s(request: web.Request) -> float:
    """How long the caller wants to wait for the result (RFC 7240 ``Prefer: wait=N`` or ``respond-async``)."""
    server = request.app[SERVICES].config.server
    preferences = request.headers.get("Prefer", "")
    if "respond-async" in preferences:
        return 0
    found = _WAIT.search(preferences)
    return min(float(found[1]), server.wait_s_max) if found else server.wait_s


def _problem(error: ValidationError, prefix: str) -> Problem:
    """A validation error, without the values that the client sent."""
    details = error.errors(include_url=False, include_context=False, include_input=False)
    if any(each["type"] == "json_invalid" for each in details):
        return Problem("malformed-json", "the body is not a JSON document in UTF-8")
    errors = [
        FieldError(prefix + ("" if prefix else "/") + "/".join(map(str, each["loc"])), each["type"], each["msg"])
        for each in details[:_ERRORS_MAX]
    ]
    codes = {each.code for each in errors}
    code = codes.pop() if len(codes) == 1 and codes <= _DOMAIN_CODES else "validation-failed"
    return Problem(code, errors=errors)
