"""Requests a second and caller."""

import pytest

from portal.limits import Limiter


def test_a_burst_up_to_the_rate_passes_then_a_whole_second_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("portal.limits.time.monotonic", lambda: 100.0)
    limiter = Limiter(3)
    assert [limiter.wait("a") for _ in range(3)] == [0, 0, 0]
    assert limiter.wait("a") == 1
    assert limiter.wait("b") == 0


def test_tokens_come_back_with_time(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    monkeypatch.setattr("portal.limits.time.monotonic", lambda: clock[0])
    limiter = Limiter(2)
    assert [limiter.wait("a") for _ in range(3)] == [0, 0, 1]
    clock[0] += 0.5
    assert [limiter.wait("a") for _ in range(2)] == [0, 1]


def test_memory_is_bounded_whoever_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("portal.limits.MAX_CALLERS", 10)
    limiter = Limiter(1)
    for caller in range(100):
        limiter.wait(caller)
    assert len(limiter._buckets) == 10
