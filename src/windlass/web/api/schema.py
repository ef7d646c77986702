"""The API's description: OpenAPI 3.1."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

from litestar import Request
from litestar.enums import OpenAPIMediaType
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import OpenAPIRenderPlugin
from litestar.openapi.spec import Components, SecurityScheme

from windlass.web.problems import MEDIA_TYPE

PATH = "/api/v1/openapi.json"
_PROBLEM = {
    "type": "object",
    "description": "Problem details, as RFC 9457 has them.",
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "error": {"type": "string", "description": "The class of the error, as Python code would see it."},
    },
    "required": ["title", "status", "detail"],
}
_SAYS_NO = {
    "description": "It was not done; the body says why.",
    "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
}


class _Description(OpenAPIRenderPlugin):
    """JSON only: pages that show it would load scripts from elsewhere."""

    def __init__(self) -> None:
        super().__init__(path="/", media_type=OpenAPIMediaType.OPENAPI_JSON, favicon="", style="")

    def render(self, request: Request[Any, Any, Any], openapi_schema: dict[str, Any]) -> bytes:
        components = openapi_schema["components"]
        told = openapi_schema | {
            "servers": [{"url": request.scope.get("root_path") or "/"}],
            "components": components | {"schemas": components["schemas"] | {"Problem": _PROBLEM}},
            "paths": {
                path: {method: _with_problems(operation) for method, operation in operations.items()}
                for path, operations in openapi_schema["paths"].items()
            },
        }
        return self.render_json(request, told)


def _with_problems(operation: dict[str, Any]) -> dict[str, Any]:
    """An operation that says how it says no: always in the same way, which the framework does not know."""
    answers = {status: answer for status, answer in operation["responses"].items() if status < "400"}
    return operation | {"responses": answers | {"default": _SAYS_NO}}


def config() -> OpenAPIConfig:
    """What the site is to say of its API, and where."""
    return OpenAPIConfig(
        title="Windlass",
        version=version("windlass"),
        path=PATH,
        description="Look at a store of Windlass, and steer what runs.",
        use_handler_docstrings=True,
        render_plugins=[_Description()],
        security=[{"token": []}],
        components=Components(security_schemes={"token": SecurityScheme(type="http", scheme="bearer")}),
    )
