"""The verbs of flags: what people and machines do to them by hand."""

from collections.abc import Callable, Mapping
from typing import Any

from django.db import transaction
from django.utils import timezone

from portal import jobs, permissions
from portal.audit import Actor
from portal.errors import Invalid, Refused
from portal.models import Environment
from rollouts.actions import flag_writes, protection, references
from rollouts.actions.flag_definitions import (
    archive,
    carry_out_variants,
    change,
    create,
    proposed_variants,
    restore_definition,
    unarchive,
)
from rollouts.actions.flag_serving import leave, release, serve
from rollouts.engine import documents
from rollouts.engine.revisions import alike
from rollouts.models import ChangeRequest, Flag, FlagConfig, FlagRevision

__all__ = [
    "archive", "carry_out", "carry_out_variants", "change", "configure", "create", "everybody_gets", "kill", "leave",
    "pin", "proposed", "proposed_variants", "release", "restore", "restore_definition", "serve", "switch_on",
    "unarchive",
]  # fmt: skip

Document = dict[str, Any]


def configure(
    flag: Flag,
    environment: Environment,
    config: Mapping[str, Any],
    *,
    by: Actor,
    because: str = "",
    expected_revision: int | None = None,
) -> FlagConfig:
    """Say what a flag does in an environment, as people write it. A field left out keeps its value."""

    def edit(held: FlagConfig) -> Document:
        document, touched = proposed(held, config)
        if touched:
            flag_writes.refuse_while_served(held)
        return document

    return _write(
        flag, environment, edit, verb="flag.configured", by=by, because=because, expected_revision=expected_revision
    )


def proposed(held: FlagConfig, given: Mapping[str, Any], over: Document | None = None) -> tuple[Document, list[str]]:
    """The config as it would be stored, given these fields over those held (or over another proposal).

    Invalid names each field that is wrong. Second, the rules of deployments that somebody tried to change.
    """
    read = documents.read_config(
        given,
        held.document() if over is None else over,
        variants=held.flag.variant_keys(),
        now=timezone.now().timestamp(),
        reserved=held.reserved,
        flag_type=held.flag.type,
    )
    if held.is_new and over is None and "off_variant" in given and "fallthrough" not in given:
        read.document["fallthrough"] = {"variant": read.document["off_variant"]}
    if read.faults:
        raise Invalid(read.faults)
    return read.document, read.touched


def carry_out(
    flag: Flag, environment: Environment, document: Document, *, request: ChangeRequest, by: Actor, because: str
) -> FlagConfig:
    """What a change request says of a config, now that it may."""
    return _write(
        flag, environment, lambda held: _kept(held, document, str(request)), verb="flag.configured", by=by,
        because=because, request=request,
    )  # fmt: skip


def kill(flag: Flag, environment: Environment, *, by: Actor, because: str = "") -> FlagConfig:
    """Switch it off: everyone gets the off variant. Always possible; a deployment that serves it pauses."""
    return _write(
        flag, environment, lambda held: {**held.document(), "enabled": False}, verb="flag.killed", by=by,
        because=because, by_hand=False,
    )  # fmt: skip


def pin(flag: Flag, environment: Environment, variant: str, *, by: Actor, because: str = "") -> FlagConfig:
    """Everyone gets this variant, whatever the rules were. Refused while a deployment serves the flag."""

    def edit(held: FlagConfig) -> Document:
        flag_writes.refuse_while_served(held)
        return proposed(held, everybody_gets(variant))[0]

    return _write(flag, environment, edit, verb="flag.pinned", by=by, because=because)


def everybody_gets(variant: str) -> Document:
    """What a config says then, as people write it: no rule, override, prerequisite or window is left."""
    return {
        "enabled": True, "rules": [], "fallthrough": {"variant": variant}, "overrides": {}, "prerequisites": [],
        "window": None,
    }  # fmt: skip


def switch_on(flag: Flag, environment: Environment, *, by: Actor, because: str = "") -> FlagConfig:
    """Switch it on again, as it was. A deployment that paused goes on only when somebody resumes it."""
    return configure(flag, environment, {"enabled": True}, by=by, because=because)


def restore(
    flag: Flag,
    environment: Environment,
    revision: int,
    *,
    by: Actor,
    because: str = "",
    expected_revision: int | None = None,
) -> FlagConfig:
    """Make an earlier revision the current one, as a new revision."""

    def edit(held: FlagConfig) -> Document:
        kept = FlagRevision.objects.filter(flag=flag, environment=environment, number=revision).first()
        if kept is None:
            raise Invalid.of("revision", f"{held} has no revision {revision}")
        document = {name: kept.document[name] for name in documents.EDITABLE}
        return _kept(held, document, f"revision {revision}")

    return _write(
        flag, environment, edit, verb="flag.restored", by=by, because=because or f"back to revision {revision}",
        expected_revision=expected_revision,
    )  # fmt: skip


# --- How ----------------------------------------------------------------------------------------
def _write(
    flag: Flag,
    environment: Environment,
    edit: Callable[[FlagConfig], Document],
    *,
    verb: str,
    by: Actor,
    because: str,
    expected_revision: int | None = None,
    by_hand: bool = True,
    request: ChangeRequest | None = None,
) -> FlagConfig:
    with transaction.atomic():
        flag_writes.take(flag)
        permissions.require(by, "operate", environment=environment, service=flag.service)
        held = flag_writes.config_of(flag, environment)
        flag_writes.expect_revision(flag, f"config in {environment}", held.revision, expected_revision)
        document, reserved = edit(held), held.reserved
        if not held.is_new and alike(document, held.document()):
            return held
        only_switched = not held.is_new and alike({**document, "enabled": held.enabled}, held.document())
        if only_switched:
            verb = "flag.switched_on" if document["enabled"] else "flag.killed"
        # Switching it off is always possible, however it is said.
        if by_hand and request is None and not (only_switched and held.enabled):
            protection.refuse_config(flag, environment)
        if reserved:
            if not only_switched:
                flag_writes.refuse_while_served(held)
            if not document["enabled"]:
                # The mark stays when the flag is switched on again: the deployment must not miss it.
                reserved = [{**rule, "killed": True} for rule in reserved]
                jobs.nudge("rollouts.reconcile")
        references.check_config(flag, environment, document)
        flag_writes.write_config(held, document, reserved, verb=verb, by=by, because=because, request=request)
    return held


def _kept(held: FlagConfig, document: Document, what: str) -> Document:
    """A whole document that was stored before; Refused where it does not fit what is there now."""
    try:
        # Its own rules count as held, so that each keeps its id and its deployment's way of hashing.
        return proposed(held, documents.show_config(document), document)[0]
    except Invalid as error:
        raise Refused(f"{what} of {held} no longer fits: {error}") from None
