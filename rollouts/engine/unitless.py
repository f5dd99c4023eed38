"""Which flags are the same for everybody just now, so that they can be told without knowing who asks."""

from rollouts.engine import schedules
from rollouts.engine.evaluate import evaluate
from rollouts.engine.types import FULL, Flag, Result, Serve, Snapshot


def without_unit(snapshot: Snapshot, key: str, *, now: float) -> Result | str:
    """What everybody gets of a flag of the snapshot; or why that depends on who asks."""
    waiting, seen = [key], {key}
    while waiting:
        flag = snapshot.flags.get(waiting.pop())
        if flag is None or not _reached(flag, now):
            continue
        why = _depends(flag, now)
        if why:
            return why if flag.key == key else f"it needs flag {flag.key}: {why}"
        for one in flag.prerequisites:
            if one.flag not in seen:
                seen.add(one.flag)
                waiting.append(one.flag)
    result = evaluate(snapshot, key, {}, now=now)
    return result if result.error is None else result.message


def _reached(flag: Flag, now: float) -> bool:
    """Whether anything beyond its switch and its time window is asked."""
    opened = flag.opens is None or now >= flag.opens
    return flag.enabled and opened and (flag.closes is None or now < flag.closes)


def _depends(flag: Flag, now: float) -> str:
    """Why the flag itself, its prerequisites aside, is not the same for everybody; empty when it is."""
    if flag.overrides:
        return "some units are given a variant individually"
    for rule in flag.rules:
        serve = _served(rule.serve, now)
        if serve.rollout == 0:
            continue
        if rule.conditions or rule.segments:
            return f"its rule {rule.id} asks who it is"
        if not _is_one(serve):
            return f"its rule {rule.id} gives shares"
        return ""
    serve = _served(flag.fallthrough, now)
    return "" if serve.rollout == 0 or _is_one(serve) else "it gives shares"


def _served(serve: Serve, now: float) -> Serve:
    """What it serves at this moment."""
    return serve if serve.schedule is None else schedules.current(serve.schedule, now)


def _is_one(serve: Serve) -> bool:
    return serve.rollout == FULL and serve.result is not None
