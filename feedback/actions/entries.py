"""Taking feedback in."""

from collections.abc import Mapping

from django.db import transaction

from feedback import priority, sentiment
from feedback.actions import satisfaction
from feedback.models import Entry
from monitoring.actions import incoming
from monitoring.actions.incoming import Wrong
from portal import jobs, live, permissions
from portal.audit import Actor
from portal.errors import Forbidden, Invalid
from portal.models import ApiKey, Environment, Service


def submit(
    *,
    service: str,
    by: Actor,
    environment: str | None = None,
    kind: str = Entry.Kind.OTHER,
    rating: int | None = None,
    text: str = "",
    unit: str = "",
    email: str = "",
    language: str = "",
    page: str = "",
    labels: Mapping[str, str] | None = None,
) -> Entry:
    """Keep what a user said, judge it, and count its rating: all in one transaction.

    `environment` None is the key's own when it has exactly one, else none at all.
    """
    its_service, its_environment = _place(service, environment, by=by)
    if rating is None and not text.strip():
        raise Invalid.of("rating", "a rating or a text is required")
    known = _labels(labels, its_service, its_environment)
    felt = sentiment.judge(text, language) if text.strip() else sentiment.of_rating(rating or 0)
    rank = priority.judge(text, kind=kind, rating=rating, sentiment=felt)
    with transaction.atomic():
        entry = Entry.objects.create(
            service=its_service,
            environment=its_environment,
            kind=kind,
            rating=rating,
            text=text,
            unit=unit,
            email=email,
            language=language,
            page=page,
            labels=known,
            release=known.get("release", ""),
            flag=known.get("flag", ""),
            variant=known.get("variant", ""),
            sentiment=felt.label,
            score=felt.score,
            confidence=felt.confidence,
            engine=felt.engine,
            words=list(felt.because),
            priority=rank.level,
            priority_because="; ".join(rank.because),
            created_at=jobs.database_now(),
        )
        if rating is not None:
            satisfaction.count(entry)
        live.announce("feedback", id=entry.pk)
    return entry


def _place(service: str, environment: str | None, *, by: Actor) -> tuple[Service, Environment | None]:
    if isinstance(by, ApiKey):
        environment = _of_the_key(by, service, environment)
    its_service = Service.objects.filter(key=service).first()
    its_environment = Environment.objects.filter(key=environment).first() if environment is not None else None
    missing = {}
    if its_service is None:
        missing["service"] = f"no service named '{service}'"
    if environment is not None and its_environment is None:
        missing["environment"] = f"no environment named '{environment}'"
    if its_service is None or missing:
        # Who may not write at all learns nothing of names.
        permissions.require_scope(by, "feedback")
        raise Invalid(missing)
    permissions.require_scope(by, "feedback", environment=its_environment, service=its_service)
    return its_service, its_environment


def _of_the_key(key: ApiKey, service: str, environment: str | None) -> str | None:
    """The environment to write for. A name beyond the key's reach is 403, whether it exists or not."""
    permissions.require_scope(key, "feedback")
    if not key.all_services and not key.services.filter(key=service).exists():
        raise Forbidden(f"key {key.name} may not write for the service '{service}'")
    if key.all_environments:
        return environment
    its_own = list(key.environments.values_list("key", flat=True))
    if environment is None:
        if len(its_own) == 1:
            return its_own[0]
        raise Invalid.of("environment", "is required: the key does not belong to exactly one")
    if environment not in its_own:
        raise Forbidden(f"key {key.name} may not write for the environment '{environment}'")
    return environment


def _labels(given: Mapping[str, str] | None, service: Service, environment: Environment | None) -> dict[str, str]:
    """Checked as a sample's; the place may be said here too, but not differently."""
    try:
        known = incoming.labels(given)
    except Wrong as wrong:
        raise Invalid.of(wrong.field, wrong.message) from None
    for name, place in (("service", service), ("environment", environment)):
        said = known.pop(name, None)
        if said is not None and (place is None or said != place.key):
            raise Invalid.of(
                f"labels.{name}", f"contradicts the field {name}" if place else f"belongs in the field {name}"
            )
    return known
