"""Scaling policies in a document, by their keys. How many instances there are is where a policy begins, no more."""

from typing import Any

from monitoring.actions import scaling_policies
from monitoring.models import ScalingPolicy
from portal.config import keyed
from portal.config.kinds import Kind, Scope, Things
from portal.config.run import Run

SECTION = "scaling_policies"
POLICIES = """\
scaling_policies:
  checkout:                       # the key
    name: checkout by CPU
    service: checkout             # must be there, or in the section services
    environment: staging
    metric: cpu_percent
    target: 60                    # of the metric, for each instance
    minimum: 2                    # instances
    maximum: 12
    instances_metric: instances   # says how many there are; or instances: 3, to begin with
    mode: advise                  # or send, with channel: the name of a webhook
"""


def _write(run: Run, path: str, key: str, given: Any) -> None:
    fields = keyed.fields_of(given)
    held = ScalingPolicy.objects.active().select_related("service", "environment", "channel").filter(key=key).first()
    if held is not None and held.instances is not None and fields.get("instances") is not None:
        said = scaling_policies.clean({**scaling_policies.shown(held), **fields})["instances"]
        # Each decision that is taken moves it on: an older document must not turn it back.
        del fields["instances"]
        if said != held.instances:
            run.warnings.append((f"{path}.instances", f"there are {held.instances} by now, and {said} is not written"))
    keyed.write(run, path, scaling_policies, held, key, fields)


def _export(scope: Scope) -> tuple[dict[str, Things], list[str]]:
    rows = ScalingPolicy.objects.active().select_related("service", "environment", "channel").order_by("key")
    found: Things = {}
    left_out = []
    for one in keyed.seen(scope, SECTION, rows):
        if one.channel is not None and not one.channel.active:
            left_out.append(f"scaling policy {one.key}: its channel {one.channel} is switched off")
            continue
        found[one.key] = scaling_policies.shown(one)
        if one.channel is not None:
            left_out.append(f"channel {one.channel}, which scaling policy {one.key} names")
    return {SECTION: found}, left_out


KIND = Kind((SECTION,), keyed.each(SECTION, _write), _export, {SECTION: POLICIES})
