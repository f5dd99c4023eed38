"""The portal's doors as this program uses them: one client a thread, and patience while nobody answers."""

import threading
from collections.abc import Mapping
from typing import Any

import httpx

LONGEST_WAIT = 15.0  # seconds between two attempts


class Away(Exception):
    """The portal does not answer, or asks to come again: try later."""

    def __init__(self, message: str, after: float | None = None) -> None:
        super().__init__(message)
        self.after = after


class Refused(Exception):
    """The portal said no, and would say it again."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Door:
    """Requests with one API key."""

    def __init__(self, portal: str, key: str) -> None:
        self._client = httpx.Client(
            base_url=portal, headers={"Authorization": f"Bearer {key}"}, timeout=10, trust_env=False
        )

    def get(self, path: str, **params: Any) -> Any:
        return self._ask("GET", path, params=params)

    def post(self, path: str, body: Any, *, once: str = "", headers: Mapping[str, str] | None = None) -> Any:
        """`once` names the wish: the same name twice is done once."""
        own = {"Idempotency-Key": once} if once else {}
        return self._ask("POST", path, json=body, headers={**own, **(headers or {})})

    def _ask(self, method: str, path: str, **options: Any) -> Any:
        try:
            answer = self._client.request(method, path, **options)
        except httpx.HTTPError as error:
            raise Away(f"{type(error).__name__}: {error}") from None
        if answer.status_code in (429, 500, 502, 503, 504):
            raise Away(f"{method} {path}: {answer.status_code}", after=_seconds(answer.headers.get("Retry-After")))
        if answer.status_code >= 400:
            raise Refused(answer.status_code, f"{method} {path}: {answer.status_code} {_detail(answer)}")
        return answer.json() if answer.content else None

    def close(self) -> None:
        self._client.close()


class Patience:
    """Waits longer after each failure in a row, and not at all after a success."""

    def __init__(self, stopping: threading.Event) -> None:
        self._stopping = stopping
        self._failures = 0

    def succeeded(self) -> bool:
        """Whether that was the end of a row of failures."""
        failed, self._failures = self._failures, 0
        return failed > 0

    def failed(self, after: float | None = None) -> bool:
        """Wait; whether it was the first failure of its row, worth a word."""
        self._failures += 1
        self._stopping.wait(max(after or 0.0, min(2.0 ** (self._failures - 2), LONGEST_WAIT)))
        return self._failures == 1


def _seconds(header: str | None) -> float | None:
    return float(header) if header and header.isdigit() else None


def _detail(answer: httpx.Response) -> str:
    try:
        return str(answer.json())[:500]
    except ValueError:
        return answer.text[:500]
