"""What a deployment's weight does to users: each of its flags served, taken back, or left as the new normal."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from django.db import IntegrityError, transaction

from portal import audit, permissions
from portal.audit import Actor, Automaton
from portal.errors import Invalid, Refused
from portal.models import Environment
from rollouts.actions import flags
from rollouts.models import Deployment, DeploymentFlag, Flag, FlagConfig, Release


def named(release: Release, environment: Environment, serves: Sequence[Mapping[str, str]], *, by: Actor) -> list[Flag]:
    """The flags that a deployment is to serve, in its order; Invalid where they cannot be."""
    errors: dict[str, str] = {}
    found: list[Flag] = []
    if not serves and release.type == Release.Type.FLAG_ONLY:
        errors["serves"] = f"{release} is a flag-only release: name the flags that it serves"
    for index, served in enumerate(serves):
        at = f"serves[{index}]"
        flag = Flag.objects.live().filter(key=served["flag"]).select_related("service").first()
        if flag is None:
            errors[f"{at}.flag"] = f"there is no flag {served['flag']}"
            continue
        for name in ("variant", "baseline"):
            if served[name] not in flag.variant_keys():
                errors[f"{at}.{name}"] = f"flag {flag} has no variant {served[name]}"
        if served["variant"] == served["baseline"]:
            errors.setdefault(f"{at}.baseline", "must be another one than the variant")
        if flag in found:
            errors[f"{at}.flag"] = f"flag {flag} is served already"
        # Asked once, here: later the run serves its flags in its own name, whoever's vote or resume it follows.
        permissions.require(by, "deploy", environment=environment, service=flag.service)
        found.append(flag)
    if errors:
        raise Invalid(errors)
    return found


def why_not(served: Iterable[DeploymentFlag]) -> list[str]:
    """What keeps these flags from being served at all, in words."""
    found: list[str] = []
    for one in served:
        config = FlagConfig.objects.of(one.flag, one.environment)
        if one.flag.archived_at is not None:
            found.append(f"flag {one.flag} is archived")
        elif config is None:
            continue  # nobody has ever said anything else: it is switched on with its baseline for everyone
        elif not config.enabled:
            found.append(f"flag {one.flag} is switched off in {one.environment}: switch it on first")
        elif config.fallthrough.get("variant") != one.baseline:
            found.append(
                f"flag {one.flag} does not serve its baseline {one.baseline} in {one.environment} to everyone else: "
                f"its fallthrough is {_words(config.fallthrough)}"
            )
        else:
            gone = {one.variant, one.baseline} - set(one.flag.variant_keys())
            found.extend(f"flag {one.flag} has no variant {variant}" for variant in sorted(gone))
    return found


def killed(deployment: Deployment, *, still: bool = False) -> list[str]:
    """The flags of this deployment that somebody has switched off since it began; `still`: that are off now."""
    found = []
    for one in deployment.flags.select_related("flag", "environment"):
        config = FlagConfig.objects.of(one.flag, one.environment)
        if config is None or not config.enabled or (config.killed and not still):
            found.append(one.flag.key)
    return found


def claim(deployment: Deployment) -> None:
    """From now on these flags are this deployment's, in its environment."""
    for one in deployment.flags.select_related("flag"):
        try:
            with transaction.atomic():
                DeploymentFlag.objects.filter(pk=one.pk).update(live=True)
        except IntegrityError:
            other = DeploymentFlag.objects.filter(flag=one.flag, environment=one.environment, live=True).first()
            holder = f"deployment {other.deployment_id}" if other else "another deployment"
            raise Refused(f"flag {one.flag} is being served by {holder}") from None


def serve(deployment: Deployment, weight: int, audience: list[Any], *, by: Actor, because: str) -> None:
    """The variant to this share of the audience, the baseline to everybody else."""
    for one in deployment.flags.select_related("flag", "environment").order_by("flag_id"):
        flags.serve(
            one.flag,
            one.environment,
            deployment=deployment.pk,
            variant=one.variant,
            baseline=one.baseline,
            weight=weight,
            audience=audience,
            by=_as(deployment),
            because=_for(by, because),
        )


def release(deployment: Deployment, *, promote: bool, by: Actor, because: str) -> None:
    """The deployment lets go of its flags: the variant becomes everybody's, or nobody's."""
    for one in deployment.flags.select_related("flag", "environment").order_by("flag_id"):
        flags.release(
            one.flag,
            one.environment,
            deployment=deployment.pk,
            promote=promote,
            by=_as(deployment),
            because=_for(by, because),
        )
    deployment.flags.update(live=False)


def leave(deployment: Deployment, *, by: Actor, because: str) -> None:
    """The deployment is over, but its share stays as it is: the last stage was never meant for everybody."""
    for one in deployment.flags.select_related("flag", "environment").order_by("flag_id"):
        flags.leave(one.flag, one.environment, deployment=deployment.pk, by=_as(deployment), because=_for(by, because))
    deployment.flags.update(live=False)


def _as(deployment: Deployment) -> Automaton:
    """A run serves its flags in its own name: who votes or resumes need not be allowed to edit them."""
    return Automaton(f"deployment {deployment.pk}")


def _for(by: Actor, because: str) -> str:
    return f"{audit.describe(by)}: {because}" if because else audit.describe(by)


def _words(fallthrough: dict[str, Any]) -> str:
    return str(fallthrough["variant"]) if "variant" in fallthrough else "a split" if fallthrough else "not set"
