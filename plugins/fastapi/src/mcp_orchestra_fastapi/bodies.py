"""Reads a request's JSON body: a small one, announced as JSON, and nothing else."""

from typing import TypeVar

from fastapi import Request
from pydantic import BaseModel, ValidationError
from starlette.requests import ClientDisconnect

from mcp_orchestra_fastapi.failures import Refused

__all__ = ["MAX_BODY_BYTES", "read_body"]

MAX_BODY_BYTES = 64 * 1024
"""The largest request body, in bytes."""

ModelT = TypeVar("ModelT", bound=BaseModel)


async def read_body(request: Request, model: type[ModelT]) -> ModelT:
    """Return a request's body; an empty one stands for ``{}``.

    The type is required of an empty one too: browsers send requests without it wherever any page tells them to.

    Raises:
        Refused: It is not announced as JSON (415), too large (413; no more than the limit is read), incomplete (400),
            or not what the model describes (422).
    """
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise Refused(415, "the request needs the header content-type: application/json")
    body = b""
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > MAX_BODY_BYTES:
                raise Refused(413, f"the body is larger than {MAX_BODY_BYTES} bytes")
        return model.model_validate_json(body or b"{}")
    except ClientDisconnect:
        raise Refused(400, "the body is incomplete") from None
    except ValidationError:
        fields = ", ".join(model.model_fields)
        raise Refused(422, f"the body must be a JSON object as OpenAPI describes it; its fields: {fields}") from None
