"""The verbs of flags' definitions: what a flag is, everywhere, and whether it is in service at all."""

from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import Any

from django.db import transaction
from django.utils import timezone

from portal import permissions
from portal.audit import Actor
from portal.errors import Invalid, Refused
from portal.models import Environment, Service
from rollouts.actions import flag_writes, protection, references
from rollouts.engine import documents, operators, reading
from rollouts.engine.revisions import alike
from rollouts.models import ChangeRequest, Flag, FlagConfig, FlagRevision

CHANGEABLE = (
    "type", "variants", "purpose", "owner", "service", "risk", "description", "tags", "expires_at", "permanent",
)  # fmt: skip
MOST_TAGS = 20
SWITCH = [{"key": "on", "value": True}, {"key": "off", "value": False}]


def create(
    key: str,
    *,
    by: Actor,
    type: str = Flag.Type.BOOLEAN,  # noqa: A002  (the contract's name)
    value_type: str | None = None,
    variants: list[dict[str, Any]] | None = None,
    service: Service | None = None,
    salt: str | None = None,
    because: str = "",
    **fields: Any,
) -> Flag:
    """A flag that is off everywhere. Without variants it is a switch; with another's salt it deals as that one did."""
    permissions.require(by, "configure", environment=permissions.ANY, service=service)
    faults = reading.Faults()
    reading.a_key(key, "key", faults)
    value_type = value_type or _value_type(variants)
    if variants is None and value_type == Flag.ValueType.BOOL:
        variants = SWITCH
    flag = Flag(key=key, value_type=value_type, service=service)
    if salt is not None:
        flag.salt = reading.a_text(salt, "salt", faults, longest=64)
    _define(flag, {"type": type, "variants": [] if variants is None else variants, **fields}, faults)
    with transaction.atomic():
        flag_writes.stand_in_line()
        if Flag.objects.filter(key=key).exists():
            raise Refused(f"there is a flag {key} already")
        flag_writes.write_definition(flag, {}, verb="flag.created", by=by, because=because)
    return flag


def change(
    flag: Flag, changes: Mapping[str, Any], *, by: Actor, because: str = "", expected_revision: int | None = None
) -> bool:
    """Change the definition. False when it is like that already."""
    return _change(
        flag, changes, verb="flag.changed", by=by, because=because, expected_revision=expected_revision
    )  # fmt: skip


def restore_definition(
    flag: Flag, revision: int, *, by: Actor, because: str = "", expected_revision: int | None = None
) -> bool:
    """Make an earlier definition the current one, as a new revision. False when it is like that already."""
    kept = FlagRevision.objects.filter(flag=flag, environment=None, number=revision).first()
    if kept is None:
        raise Invalid.of("revision", f"the definition of flag {flag} has no revision {revision}")
    # Fields younger than the revision keep their value.
    fields = {name: kept.document[name] for name in CHANGEABLE if name in kept.document}
    if fields["service"] is not None:
        fields["service"] = Service.objects.filter(key=fields["service"]).first()
        if fields["service"] is None:
            raise Refused(f"revision {revision} of flag {flag} no longer fits: its service is gone")
    return _change(
        flag, fields, verb="flag.definition_restored", by=by, because=because or f"back to revision {revision}",
        expected_revision=expected_revision,
    )  # fmt: skip


def carry_out_variants(
    flag: Flag, variants: list[dict[str, Any]], *, request: ChangeRequest, by: Actor, because: str
) -> bool:
    """What a change request says of a flag's variants, now that it may."""
    return _change(flag, {"variants": variants}, verb="flag.changed", by=by, because=because, request=request)


def proposed_variants(flag: Flag, variants: Any) -> list[dict[str, Any]]:
    """The variants as they would be stored, or Invalid naming what is wrong with them."""
    faults = reading.Faults()
    read = documents.read_variants(variants, flag.value_type, faults)
    if faults:
        raise Invalid(faults)
    references.refuse_if_variants_used(flag, set(flag.variant_keys()) - {one["key"] for one in read})
    return read


def _change(
    flag: Flag,
    changes: Mapping[str, Any],
    *,
    verb: str,
    by: Actor,
    because: str,
    expected_revision: int | None = None,
    request: ChangeRequest | None = None,
) -> bool:
    with transaction.atomic():
        flag_writes.take(flag)
        permissions.require(by, "configure", environment=permissions.ANY, service=flag.service)
        if "service" in changes:
            permissions.require(by, "configure", environment=permissions.ANY, service=changes["service"])
        flag_writes.expect_revision(flag, "definition", flag.revision, expected_revision)
        before, had = flag.definition(), {one["key"]: one["value"] for one in flag.variants}
        faults = reading.Faults()
        reading.an_object(changes, "", faults, fields=CHANGEABLE)
        _define(flag, changes, faults)
        if alike(flag.definition(), before):
            return False
        has = {one["key"]: one["value"] for one in flag.variants}
        if not alike(had, has):
            _require_everywhere(by, flag)
            references.refuse_if_variants_used(flag, had.keys() - has.keys())
            if request is None:
                revalued = {key for key in had.keys() & has.keys() if not alike(had[key], has[key])}
                protection.refuse_variants(flag, _configs(flag), revalued)
        flag_writes.write_definition(flag, before, verb=verb, by=by, because=because, request=request)
    return True


def archive(flag: Flag, *, by: Actor, because: str = "") -> bool:
    """Take a flag out of service: clients no longer find it. False when it was archived before."""
    with transaction.atomic():
        flag_writes.take(flag, archived=True)
        permissions.require(by, "configure", environment=permissions.ANY, service=flag.service)
        if flag.archived_at is not None:
            return False
        _require_everywhere(by, flag)
        configs = _configs(flag)
        for config in configs:
            flag_writes.refuse_while_served(config)
        protection.refuse_archiving(flag, configs)
        references.refuse_if_needed(flag)
        before = flag.definition()
        flag.archived_at = timezone.now()
        flag_writes.write_definition(flag, before, verb="flag.archived", by=by, because=because)
    return True


def unarchive(flag: Flag, *, by: Actor, because: str = "") -> bool:
    """Take it into service again as it was, in protected environments switched off. False when it was never away."""
    with transaction.atomic():
        flag_writes.take(flag, archived=True)
        permissions.require(by, "configure", environment=permissions.ANY, service=flag.service)
        if flag.archived_at is None:
            return False
        _require_everywhere(by, flag)
        configs = _configs(flag)
        # Meanwhile others could take away what it refers to.
        references.refuse_if_dangling(flag)
        before = flag.definition()
        flag.archived_at = None
        flag_writes.write_definition(flag, before, verb="flag.unarchived", by=by, because=because)
        for config in configs:
            if config.environment.protected and config.enabled:
                off = {**config.document(), "enabled": False}
                flag_writes.write_config(config, off, config.reserved, verb="flag.killed", by=by, because=because)
    return True


# --- How ----------------------------------------------------------------------------------------
def _configs(flag: Flag) -> list[FlagConfig]:
    found = list(flag.configs.select_related("environment"))
    for config in found:
        config.flag = flag
    return found


def _require_everywhere(by: Actor, flag: Flag) -> None:
    """What changes a flag's values, or takes it away, does so in every environment where it is configured."""
    for environment in Environment.objects.filter(flag_configs__flag=flag):
        permissions.require(by, "configure", environment=environment, service=flag.service)


def _define(flag: Flag, fields: Mapping[str, Any], faults: reading.Faults) -> None:
    """Check the fields of a definition and set them; Invalid names each that is wrong."""
    for name, choices in (("type", Flag.Type), ("purpose", Flag.Purpose), ("risk", Flag.Risk)):
        if name in fields:
            if fields[name] not in choices.values:
                faults.add(name, f"choose from {', '.join(choices.values)}")
            setattr(flag, name, fields[name])
    for name, longest in (("owner", 200), ("description", 10_000)):
        if name in fields:
            text = fields[name]
            setattr(flag, name, reading.a_text(text, name, faults, longest=longest) if text != "" else "")
    if "tags" in fields:
        flag.tags = _tags(fields["tags"], faults)
    if "permanent" in fields:
        flag.permanent = reading.a_truth(fields["permanent"], "permanent", faults)
    if "expires_at" in fields:
        flag.expires_at = _expiry(fields["expires_at"], faults)
    if flag.permanent and flag.expires_at is not None:
        faults.add("expires_at", "a permanent flag has no expiry date")
    if flag.value_type not in Flag.ValueType.values:
        faults.add("value_type", f"choose from {', '.join(Flag.ValueType.values)}")
    if "service" in fields:
        flag.service = fields["service"]
    if "variants" in fields:
        flag.variants = documents.read_variants(fields["variants"], flag.value_type, faults)
    if flag.type == Flag.Type.AB_TEST and len(flag.variants) < 2:
        faults.add("variants", "an A/B test needs at least two")
    if faults:
        raise Invalid(faults)


def _expiry(value: Any, faults: reading.Faults) -> datetime | None:
    """A moment; a day alone is its first one, in UTC."""
    try:
        if value is None:
            return None
        when = datetime.fromisoformat(value) if isinstance(value, str) else value
        if type(when) is date:
            when = datetime(when.year, when.month, when.day, tzinfo=UTC)
        return when.astimezone(UTC) if when.tzinfo else when.replace(tzinfo=UTC)
    except (AttributeError, ValueError, OverflowError):
        faults.add("expires_at", "must be a date or a time such as 2026-03-01T09:00:00Z, or null")
        return None


def _tags(value: Any, faults: reading.Faults) -> list[str]:
    found = []
    for n, one in enumerate(reading.a_list(value, "tags", faults, most=MOST_TAGS)):
        tag = reading.a_text(one, f"tags[{n}]", faults, longest=50)
        if tag != tag.strip() or "," in tag:
            faults.add(f"tags[{n}]", "has neither commas nor spaces around it")
        if tag in found:
            faults.add(f"tags[{n}]", f"there is a tag {tag} already")
        found.append(tag)
    return found


def _value_type(variants: Any) -> str:
    """The type that all given values have; a switch when there are none."""
    values = [one.get("value") for one in variants if isinstance(one, Mapping)] if isinstance(variants, list) else []
    if values and all(isinstance(value, str) for value in values):
        return Flag.ValueType.STRING
    if values and all(isinstance(value, Mapping) for value in values):
        return Flag.ValueType.JSON
    if values and all(operators.is_number(value) for value in values):
        return Flag.ValueType.INT if all(type(value) is int for value in values) else Flag.ValueType.FLOAT
    return Flag.ValueType.BOOL
