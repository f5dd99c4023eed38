"""Things in the words of the domain, made by the product's own actions: `from tests import make`."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from itertools import count
from typing import Any

from monitoring import vitals
from monitoring.actions import metrics, observations
from monitoring.models import HourRollup, Series
from monitoring.queries.rollups import floor
from portal import jobs, keys
from portal.audit import Automaton
from portal.models import Environment, Grant, Service, User
from rollouts.actions import change_requests, deployments, flags, plans, releases
from rollouts.models import Deployment, Flag, Plan, Release

BY = Automaton("test")
_number = count(1)


def service(key: str = "checkout", **fields: Any) -> Service:
    """The service of this key, made if it is not there."""
    return Service.objects.get_or_create(key=key, defaults=fields)[0]


def environment(key: str = "staging", *, policy: str = "not_required", protected: bool = False) -> Environment:
    """The environment of this key, made if it is not there; without approval unless a policy is named."""
    defaults = {"approval_policy": policy, "protected": protected}
    return Environment.objects.get_or_create(key=key, defaults=defaults)[0]


def production() -> Environment:
    """The protected one, where somebody else has to approve."""
    return environment("production", policy="four_eyes", protected=True)


def person(
    username: str = "",
    *roles: str,
    environment: Environment | None = None,
    service: Service | None = None,
    **fields: Any,
) -> User:
    """Somebody with these roles, everywhere unless a place is named: make.person("dana", "captain", password="…")."""
    somebody = User.objects.create_user(username or f"person{next(_number)}", **fields)
    for role in roles:
        Grant.objects.create(user=somebody, role=role, environment=environment, service=service)
    return somebody


def key(
    *scopes: str, environments: Sequence[Environment] | None = None, services: Sequence[Service] | None = None
) -> str:
    """A new API key itself: make.key("write")."""
    name = f"key{next(_number)}"
    return keys.create(name, scopes=scopes or ("write",), environments=environments, services=services, by=BY)[1]


def browser_key(*from_origins: str, services: Sequence[Service] | None = None) -> str:
    """A public key of staging's pages, for these origins."""
    name = f"browser{next(_number)}"
    return keys.create(
        name, scopes=["browser"], environments=[environment()], services=services, from_origins=from_origins, by=BY
    )[1]


def page_view(
    service: str = "shop",
    environment: str = "staging",
    *,
    at: datetime | None = None,
    labels: Mapping[str, str] = {},
    **figures: float,
) -> None:
    """What one page view measured: make.page_view(lcp=2.1, inp=0.08, labels={"page": "/cart"})."""
    told = {"page": "/", "browser": "chrome", "device": "desktop", **labels}
    places = {"service": service, "environment": environment}
    number = next(_number)
    observations.record(
        [
            {"metric": vitals.MEASURED[name].metric, "key": f"view-{number}", "value": value, "labels": told | places}
            | ({"time": at} if at else {})
            for name, value in figures.items()
        ],
        by=BY,
    )


def flag(
    key: str = "new-checkout",
    *,
    variants: Mapping[str, Any] | None = None,
    value_type: str = "bool",
    on_in: Sequence[Environment] = (),
    serving: str = "off",
) -> Flag:
    """A flag; switched on in the environments named, where it serves `serving` to everyone."""
    values = {"on": True, "off": False} if variants is None else variants
    made = flags.create(
        key,
        by=BY,
        type="boolean",
        value_type=value_type,
        variants=[{"key": name, "value": value} for name, value in values.items()],
    )
    for place in on_in:
        switch(made, place, serving=serving)
    return made


def switch(flag: Flag, environment: Environment, *, on: bool = True, serving: str = "off") -> None:
    """The flag's kill switch, and what it serves to everyone while it is on."""
    configure(flag, environment, {"enabled": on, "off_variant": "off", "fallthrough": {"variant": serving}})


def configure(flag: Flag, environment: Environment, document: Mapping[str, Any], *, because: str = "") -> None:
    """By hand, or where that is not allowed by a change request that somebody else approves."""
    if not environment.protected:
        flags.configure(flag, environment, document, by=BY, because=because)
        return
    request = change_requests.open(flag, environment, document, by=BY, because=because)
    change_requests.approve(request, by=approver())
    change_requests.apply(request, by=BY, because=because)


def approver(username: str = "nadia") -> User:
    """Somebody who may approve everywhere, and does nothing else."""
    somebody, is_new = User.objects.get_or_create(username=username)
    if is_new:
        Grant.objects.create(user=somebody, role=Grant.Role.APPROVER)
    return somebody


def release(version: str = "", *, service: Service | None = None, **fields: Any) -> Release:
    version = version or f"1.{next(_number)}.0"
    return releases.create(service or globals()["service"](), version, by=BY, **fields)


def plan(
    name: str = "",
    *,
    stages: Sequence[float | Mapping[str, Any]] = (5, 50, 100),
    gates: Sequence[Mapping[str, Any]] = (),
    guardrails: Sequence[Mapping[str, Any]] = (),
    dwell: int = 0,
    max_dwell: int | None = None,
    watch: int | None = None,
    by: Any = BY,
) -> Plan:
    """A plan whose stages are weights (with the same gates and dwell) or written out."""
    written = [
        stage
        if isinstance(stage, Mapping)
        else {"name": f"{stage:g} %", "weight": stage, "dwell": dwell, "max_dwell": max_dwell, "gates": list(gates)}
        for stage in stages
    ]
    content = {"stages": written, "guardrails": list(guardrails), "watch": watch}
    return plans.write(name or f"plan{next(_number)}", content, by=by)[0]


def deployment(
    *,
    stages: Sequence[float | Mapping[str, Any]] = (5, 50, 100),
    release: Release | None = None,
    environment: Environment | None = None,
    plan: Plan | None = None,
    flags: Sequence[Flag] | None = None,
    by: Any = BY,
    **planned: Any,
) -> Deployment:
    """A draft that serves one new flag's `on` (baseline `off`), unless told otherwise."""
    made = globals()
    place = environment or made["environment"]()
    served = [made["flag"](f"flag{next(_number)}", on_in=[place])] if flags is None else flags
    return deployments.create(
        release or made["release"](),
        place,
        plan or made["plan"](stages=stages, **planned),
        [{"flag": one.key, "variant": "on", "baseline": "off"} for one in served],
        by=by,
    )


def progressing(**options: Any) -> Deployment:
    """A deployment in its first stage."""
    made = deployment(**options)
    deployments.start(made, by=BY)
    made.refresh_from_db()
    return made


def reconciled(deployment: Deployment, times: int = 1) -> Deployment:
    """What the sweep makes of it, now."""
    for _ in range(times):
        deployments.reconcile(deployment, now=jobs.database_now())
    deployment.refresh_from_db()
    return deployment


def measured(metric: str, *values: float, ago: int = 0, every: int = 1, **labels: str) -> None:
    """Samples of one series, the newest last and `ago` seconds old: make.measured("latency", 2.0, 2.1, flag="f")."""
    last = jobs.database_now() - timedelta(seconds=ago)
    taken = [
        {"metric": metric, "value": value, "time": last - timedelta(seconds=every * back), "labels": labels}
        for back, value in enumerate(reversed(values))
    ]
    found = metrics.record(taken, by=BY)
    assert not found.errors, found.errors


def hours(metric: str, values: Sequence[float], *, every: int = 1, **labels: str) -> None:
    """Hours gone by of one series, as the sweep of rollups left them; the last of them is the one that ended last."""
    measured(metric, float(values[-1]), ago=0, every=1, **labels)
    series = Series.objects.get(metric__name=metric, labels=labels)
    last = floor(jobs.database_now(), 3600) - timedelta(hours=1)
    rows = [(last - (len(values) - 1 - n) * timedelta(hours=every), float(value)) for n, value in enumerate(values)]
    HourRollup.objects.bulk_create(
        HourRollup(
            series=series, time=time, samples=60, count=60, total=value * 60, squares=0, low=value, high=value,
            first=value, last=value, first_time=time, last_time=time, increase=None, histogram=None,
        )
        for time, value in rows
    )  # fmt: skip
