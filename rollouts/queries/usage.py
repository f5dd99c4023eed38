"""Since when flags are evaluated and shown, and which of them nobody needs any longer: by use, not by edit date."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from django.conf import settings
from django.db.models import Min, QuerySet

from monitoring.models import VariantUse
from portal.models import Environment
from rollouts.models import Flag, FlagConfig

# A switch or a permission may give everyone the same for years and be needed all the same.
MAY_SETTLE = frozenset({Flag.Purpose.RELEASE, Flag.Purpose.EXPERIMENT})


@dataclass(frozen=True, slots=True)
class Stale:
    """Why a flag may have had its day. Without environment: everywhere."""

    kind: str  # expired, unused, settled
    environment: str | None
    since: datetime
    why: str


@dataclass(slots=True)
class Use:
    """A flag in one environment."""

    last_evaluated_at: datetime | None = None
    last_exposed_at: datetime | None = None
    # The variants that somebody got: since when, and until when.
    variants: dict[str, tuple[datetime, datetime]] = field(default_factory=dict)


@dataclass(slots=True)
class Usage:
    """What is known of the use of some flags, in the environments that somebody may see."""

    environments: dict[int, Environment]
    uses: dict[str, dict[int, Use]]
    configured: dict[int, set[int]]  # flag: environments in which somebody has said what it does
    counted_since: dict[int, datetime]
    now: datetime

    def use(self, flag: Flag, environment: Environment) -> Use:
        return self.uses.get(flag.key, {}).get(environment.pk) or Use()

    def last_evaluated_at(self, flag: Flag) -> datetime | None:
        return max((use.last_evaluated_at for use in self._of(flag) if use.last_evaluated_at), default=None)

    def last_exposed_at(self, flag: Flag) -> datetime | None:
        return max((use.last_exposed_at for use in self._of(flag) if use.last_exposed_at), default=None)

    def stale(self, flag: Flag) -> list[Stale]:
        """Why it is stale; empty when it is not, or is meant to stay."""
        if flag.permanent or flag.archived_at is not None:
            return []
        found = []
        if flag.expires_at is not None and flag.expires_at <= self.now:
            found.append(Stale("expired", None, flag.expires_at, f"expired {_ago(self.now - flag.expires_at)} ago"))
        unused = self._unused(flag)
        return [*found, *unused, *self._settled(flag, {one.environment for one in unused})]

    def _of(self, flag: Flag) -> Iterable[Use]:
        return self.uses.get(flag.key, {}).values()

    def _unused(self, flag: Flag) -> list[Stale]:
        found = []
        for pk, environment in self.environments.items():
            # Where nothing at all is evaluated, nothing can be said about one flag.
            if pk not in self.configured.get(flag.pk, ()) or pk not in self.counted_since:
                continue
            last = self.use(flag, environment).last_evaluated_at
            since = last or max(flag.created_at, self.counted_since[pk])
            if since <= self.now - timedelta(days=settings.PORTAL_STALE_UNUSED_DAYS):
                why = f"not evaluated in {environment} for {_ago(self.now - since)}"
                found.append(Stale("unused", environment.key, since, why))
        return found

    def _settled(self, flag: Flag, unused: Collection[str | None]) -> list[Stale]:
        """One variant for everyone, and for so long, wherever it is in use: then the question is answered."""
        if flag.purpose not in MAY_SETTLE:
            return []
        found = []
        for environment in self.environments.values():
            use = self.use(flag, environment)
            if not use.variants or environment.key in unused:
                continue
            current = max(use.variants, key=lambda variant: use.variants[variant][1])
            others = [until for variant, (_, until) in use.variants.items() if variant != current]
            since = max(others, default=min(began for began, _ in use.variants.values()))
            if since > self.now - timedelta(days=settings.PORTAL_STALE_SETTLED_DAYS):
                return []
            why = f"serves {current} to everyone in {environment} for {_ago(self.now - since)}: can be removed"
            found.append(Stale("settled", environment.key, since, why))
        return found


def of(flags: Sequence[Flag], environments: Iterable[Environment], *, now: datetime) -> Usage:
    """The use of these flags in these environments."""
    places = {one.pk: one for one in environments}
    rows = VariantUse.objects.filter(environment__in=places)
    configs = FlagConfig.objects.filter(environment__in=places)
    if len(flags) <= 500:
        rows = rows.filter(flag__in=[one.key for one in flags])
        configs = configs.filter(flag__in=[one.pk for one in flags])
    uses: dict[str, dict[int, Use]] = defaultdict(dict)
    fields = ("flag", "environment_id", "variant", "first_evaluated_at", "last_evaluated_at", "last_exposed_at")
    for flag, place, variant, first, last, shown in rows.order_by().values_list(*fields):
        use = uses[flag].setdefault(place, Use())
        use.last_evaluated_at = _later(use.last_evaluated_at, last)
        use.last_exposed_at = _later(use.last_exposed_at, shown)
        if variant and first is not None and last is not None:
            use.variants[variant] = (first, last)
    configured: dict[int, set[int]] = defaultdict(set)
    for flag_id, place in configs.order_by().values_list("flag_id", "environment_id"):
        configured[flag_id].add(place)
    return Usage(places, uses, configured, _counted_since(places), now)


def stale(rows: "QuerySet[Flag]", environments: Iterable[Environment], *, now: datetime) -> list[int]:
    """The ids of those of the flags that are stale."""
    fields = ("key", "purpose", "created_at", "archived_at", "expires_at", "permanent")
    flags = list(rows.order_by().select_related(None).only(*fields))
    usage = of(flags, environments, now=now)
    return [flag.pk for flag in flags if usage.stale(flag)]


def _counted_since(places: Mapping[int, Environment]) -> dict[int, datetime]:
    """Since when evaluations are counted in each environment; without those in which none ever was."""
    began = VariantUse.objects.filter(environment__in=places, first_evaluated_at__isnull=False).order_by()
    return dict(began.values_list("environment_id").annotate(began=Min("first_evaluated_at")))


def _later(one: datetime | None, other: datetime | None) -> datetime | None:
    return max(one, other) if one and other else one or other


def _ago(passed: timedelta) -> str:
    return f"{passed.days} d" if passed.days else f"{passed.seconds // 3600} h"
