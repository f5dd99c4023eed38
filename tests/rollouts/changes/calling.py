"""REST as a key or as a person calls it."""

from typing import Any

import orjson
from django.test import Client

from portal.models import User


class Caller:
    """`call("POST", "change-requests/", {…}, If_Match="…")`."""

    def __init__(self, who: User | str) -> None:
        self.client = Client()
        self.headers: dict[str, str] = {}
        if isinstance(who, User):
            self.client.force_login(who)
        else:
            self.headers["Authorization"] = f"Bearer {who}"

    def __call__(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        return self.client.generic(
            method,
            f"/api/v1/{path}",
            b"" if body is None else orjson.dumps(body),
            content_type="application/json",
            headers=self.headers | {name.replace("_", "-"): value for name, value in headers.items()},
        )


def named(answer: Any) -> set[str]:
    """The fields that the answer says are wrong."""
    assert answer.status_code == 400, answer.content
    return {one["field"] for one in answer.json()["errors"]}
