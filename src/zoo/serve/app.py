"""The FastAPI app: a table of routes, bodies read strictly, refusals told in one form.

The guard stands before it, see `zoo.serve.server.open_door`.
"""

from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException

from zoo import __version__
from zoo.serve.document import describe
from zoo.serve.fleet import Fleet
from zoo.serve.metrics import Metrics
from zoo.serve.problems import Problem, encoded, of_errors, of_refusal
from zoo.serve.refusal import Refusal
from zoo.serve.routes import ROUTES, UNDOCUMENTED, House, Route, house_of, visit_of
from zoo.serve.strict import Malformed, parse
from zoo.serve.visit import Gate

TITLES = {404: "there is nothing at this path", 405: "this path does not take this method"}


def create_app(fleet: Fleet, gate: Gate, metrics: Metrics, *, keys: bool = False) -> FastAPI:
    """Make the app; `keys` says whether the document asks for one."""
    app = FastAPI(
        title="zoo",
        version=__version__,
        docs_url=None,  # both load their scripts from elsewhere
        redoc_url=None,
        redirect_slashes=False,
        openapi_url=None,
        exception_handlers=HANDLERS,
    )
    app.state.house = House(fleet, gate, metrics)
    app.router.route_class = StrictRoute
    for row in (*ROUTES, *UNDOCUMENTED):
        add(app, row)
    refused = {row.path: tuple(row.refused) for row in ROUTES}
    app.state.document = describe(app.openapi(), refused, keys=keys)
    return app


def add(app: FastAPI, row: Route) -> None:
    """Add a route."""
    app.add_api_route(
        row.path,
        row.answer,
        methods=[row.method],
        response_model=row.form,
        summary=row.says,
        operation_id=row.answer.__name__,
        include_in_schema=row.form is not None,
    )


class StrictRoute(APIRoute):
    """A route whose body is read by `zoo.serve.strict`."""

    def get_route_handler(self) -> Callable[[Request], Awaitable[Any]]:  # type: ignore[override]
        inner = super().get_route_handler()

        async def handler(request: Request) -> Any:
            if self.body_field is not None:
                depth = house_of(request).gate.limits.depth
                # FastAPI asks for `request.json()`, which gives what is there already
                request._json = read_body(request, await request.body(), depth)
            return await inner(request)

        return handler


def read_body(request: Request, body: bytes, depth: int) -> Any:
    """Read a JSON body. Raises Problem for another type, another encoding, or what is no JSON."""
    check_type(request.headers.getlist("content-type"))
    if request.headers.get("content-encoding", "identity").strip().lower() != "identity":
        raise Problem(415, "a body is sent as it is, without Content-Encoding")
    try:
        return parse(body, depth=depth)
    except Malformed as error:
        raise Problem(400, str(error)) from None


def check_type(types: list[str]) -> None:
    """Raise Problem unless a body says that it is JSON, in UTF-8 where it says that too."""
    kind, _, rest = ",".join(types).partition(";")
    parameter = rest.replace(" ", "").replace('"', "").lower()
    if kind.strip().lower() != "application/json" or parameter not in ("", "charset=utf-8"):
        raise Problem(415, "the body is to be `Content-Type: application/json`, in UTF-8")


async def tell(request: Request, error: Exception) -> Response:
    """Answer with a problem, whatever was raised."""
    problem = problem_of(error)
    visit = visit_of(request)
    visit.noted["refused"] = problem.code
    headers, body = encoded(problem, visit.id)
    response = Response(body, problem.status)
    response.raw_headers = headers
    return response


def problem_of(error: Exception) -> Problem:
    """Give each exception its problem; one that nobody expected says nothing of itself."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, Refusal):
        return of_refusal(error)
    if isinstance(error, RequestValidationError):
        return of_errors(error.errors())
    if isinstance(error, HTTPException):
        said = TITLES.get(error.status_code, str(error.detail))
        return Problem(error.status_code, said, headers=dict(error.headers or {}))
    return Problem(500, "the server made a mistake; its log has this request's id")


HANDLERS: dict[Any, Any] = dict.fromkeys(
    (Problem, Refusal, RequestValidationError, HTTPException, Exception), tell
)
