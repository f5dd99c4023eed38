"""A machine with a key at the REST doors."""

import json
from typing import Any

import orjson
from django.test import Client

from tests import make


class Caller:
    """Calls below /api/v1/ with one key; answers are (status, body)."""

    def __init__(self, *scopes: str, **where: Any) -> None:
        self.key = make.key(*scopes, **where)
        self.headers: dict[str, str] = {}

    def __call__(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        raw = body if isinstance(body, bytes) else json.dumps(body).encode() if body is not None else b""
        answer = Client(raise_request_exception=True).generic(
            method,
            f"/api/v1/{path}",
            raw,
            content_type="application/json",
            headers={"Authorization": f"Bearer {self.key}", **headers},
        )
        self.headers = dict(answer.items())
        return answer.status_code, orjson.loads(answer.content) if answer.content else None

    def get(self, path: str) -> Any:
        status, body = self("GET", path)
        assert status == 200, body
        return body

    def post(self, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        return self("POST", path, body, **headers)


def fields(body: Any) -> set[str]:
    """The fields that a problem names."""
    return {error["field"] for error in body["errors"]}
