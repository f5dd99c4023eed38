"""What incidents may do to rollouts: take a deployment back, pause it, switch flags off or to a variant."""

from datetime import timedelta

from monitoring import responses
from monitoring.models import ResponseRun
from portal import jobs
from portal.audit import Automaton
from portal.errors import Invalid, Refused
from portal.models import Environment, Service
from rollouts import progress
from rollouts.actions import blame, change_requests, change_writes, deployments, flags, runs
from rollouts.models import UNDER_WAY, Deployment, Flag, FlagConfig

BY = Automaton("incident response")
# A request that has a time is carried out as soon as it is approved, once that is past.
APPLIED_AFTER = timedelta(seconds=5)


def place(argument: str, target: str) -> responses.Place:
    """Where a target is: whoever names it in a threshold must be allowed to configure there."""
    kind, _, name = target.partition(":")
    if kind == "deployment" and name.isascii() and name.isdigit():
        found = Deployment.objects.select_related("environment", "service").filter(pk=int(name)).first()
        environment, service = (found.environment, found.service) if found else (None, None)
    else:
        key, _, there = name.rpartition("@")
        environment = Environment.objects.filter(key=there).first()
        service = Service.objects.filter(key=key).first() if kind == "service" else None
    if argument:  # names a flag, and whose that is counts
        flag = Flag.objects.select_related("service").filter(key=argument.partition("=")[0]).first()
        service = flag.service if flag else None
    return environment, service


def check_flag(argument: str) -> None:
    """`FLAG`, or `FLAG=VARIANT`: both must be there."""
    key, equals, variant = argument.partition("=")
    flag = Flag.objects.live().filter(key=key).first()
    if flag is None:
        raise Invalid.of("", f"there is no flag {key}")
    if equals and variant not in flag.variant_keys():
        raise Invalid.of("", f"flag {key} has no variant {variant}: {', '.join(flag.variant_keys())}")


def check_setting(argument: str) -> None:
    if "=" not in argument:
        raise Invalid.of("", "set_flag is written set_flag:FLAG=VARIANT")
    check_flag(argument)


def check_killed(argument: str) -> None:
    if "=" in argument:
        raise Invalid.of("", "kill takes a flag alone: its off variant is what everybody gets")
    check_flag(argument)


@responses.register("roll_back", place=place)
def roll_back(run: ResponseRun) -> responses.Outcome:
    """Everybody gets the baseline back; unless the baseline is as bad, for then it is not the release."""
    deployment = _deployment(run)
    if deployment.status == Deployment.Status.ROLLED_BACK:
        return responses.Outcome(f"deployment {deployment.pk} is rolled back already")
    verdict = _blame(run, deployment)
    because = _because(run, verdict.why)
    if verdict.release:
        deployments.roll_back(deployment, by=BY, because=because)
        return responses.Outcome(f"deployment {deployment.pk} rolled back: {verdict.why}")
    if deployment.status in UNDER_WAY:
        deployments.pause(deployment, by=BY, because=f"environment: {because}", reason=blame.ENVIRONMENT)
        text = f"deployment {deployment.pk} paused instead of rolled back: {verdict.why}"
        return responses.Outcome(text, mitigates=False)
    return responses.Outcome(f"deployment {deployment.pk} left as it is: {verdict.why}", mitigates=False)


@responses.register("pause", place=place)
def pause(run: ResponseRun) -> responses.Outcome:
    """Stay at this weight until a person has looked."""
    deployment = _deployment(run)
    if deployments.pause(deployment, by=BY, because=_because(run), reason="incident"):
        return responses.Outcome(f"deployment {deployment.pk} paused", mitigates=False)
    return responses.Outcome(f"deployment {deployment.pk} is paused already", mitigates=False)


@responses.register("kill", argument="FLAG", check=check_killed, place=place)
def kill(run: ResponseRun) -> responses.Outcome:
    """Everybody gets the off variant: of the flag that is named, or of each flag that the deployment serves."""
    if run.argument or run.target.startswith("flag:"):
        flag, environment = _flag(run)
        killed = [flag]
    else:
        deployment = _deployment(run)
        environment = deployment.environment
        killed = [served.flag for served in deployment.flags.select_related("flag").order_by("flag_id")]
        if not killed:
            raise Refused(f"deployment {deployment.pk} serves no flag")
    for flag in killed:
        flags.kill(flag, environment, by=BY, because=_because(run))
    return responses.Outcome(f"switched off in {environment}: {', '.join(flag.key for flag in killed)}")


@responses.register("set_flag", argument="FLAG=VARIANT", is_needed=True, check=check_setting, place=place)
def set_flag(run: ResponseRun) -> responses.Outcome:
    """Everybody gets this variant, whatever the rules were. Where flags are protected it is asked for."""
    flag, environment = _flag(run)
    variant, because = run.argument.partition("=")[2], _because(run)
    if variant not in flag.variant_keys():
        raise Refused(f"flag {flag} has no variant {variant}")
    what = f"{variant} of {flag} in {environment}"
    if environment.protected:
        return _ask_for(flag, environment, variant, what, because)
    held = FlagConfig.objects.of(flag, environment)
    before = held.revision if held else 0
    if flags.pin(flag, environment, variant, by=BY, because=because).revision == before:
        return responses.Outcome(f"everybody has {what} already")
    back = f"; revision {before} is what was before" if before else ""
    return responses.Outcome(f"everybody gets {what}{back}")


def _ask_for(flag: Flag, environment: Environment, variant: str, what: str, because: str) -> responses.Outcome:
    """Nobody edits by hand there, and an incident does not either: a person approves it, and then it is done."""
    soon = jobs.database_now() + APPLIED_AFTER
    try:
        request = change_requests.open(
            flag, environment, flags.everybody_gets(variant), by=BY, because=because[: change_writes.LONGEST_REASON],
            title=f"Everybody gets {what}"[: change_writes.LONGEST_TITLE], apply_at=soon,
        )  # fmt: skip
    except Invalid as error:
        if set(error.errors) != {"document"}:
            raise Refused(f"no change request for {what}: {error}") from error
        return responses.Outcome(f"everybody has {what} already")
    text = f"change request {request.pk} asks for {what}: {environment} is protected, somebody has to approve it"
    return responses.Outcome(text, mitigates=False)


def _deployment(run: ResponseRun) -> Deployment:
    """The deployment that the target names, locked; of a service the live one."""
    kind, _, name = run.target.partition(":")
    rows = Deployment.objects.select_related("release", "service", "environment")
    if kind == "deployment" and name.isascii() and name.isdigit():
        found = rows.filter(pk=int(name)).first()
    elif kind == "service":
        key, environment = _at(name)
        found = rows.live().filter(service__key=key, environment=environment).first()
    else:
        raise Refused(f"{run.target} names neither a deployment nor a service in an environment")
    if found is None:
        raise Refused(f"there is no deployment {name}" if kind == "deployment" else f"{name} has no live deployment")
    runs.lock(found)
    return found


def _flag(run: ResponseRun) -> tuple[Flag, Environment]:
    """The flag that the argument names, else the target, and the environment of the target."""
    if run.target.startswith("deployment:"):
        environment, key = _deployment(run).environment, ""
    else:
        key, environment = _at(run.target.partition(":")[2])
    key = run.argument.partition("=")[0] or key
    flag = Flag.objects.live().filter(key=key).first()
    if flag is None:
        raise Refused(f"there is no flag {key}")
    return flag, environment


def _at(name: str) -> tuple[str, Environment]:
    key, _, environment = name.rpartition("@")
    found = Environment.objects.filter(key=environment).first()
    if not key or found is None:
        raise Refused(f"{name} does not name an environment that there is")
    return key, found


def _blame(run: ResponseRun, deployment: Deployment) -> progress.Blame:
    """Asked of every bound that is broken: one that accuses the release is enough."""
    firing = run.incident.alerts.firing().exclude(level="warning").select_related("threshold").order_by("id")
    now = jobs.database_now()
    verdicts = [blame.ask(deployment, alert.threshold, alert.value, now=now) for alert in firing]
    guilty = next((one for one in verdicts if one.release), None)
    return guilty or next(iter(verdicts), progress.Blame(True, "no alert is firing any more to compare by"))


def _because(run: ResponseRun, why: str = "") -> str:
    return f"incident {run.incident_id}: {run.because}" + (f" ({why})" if why else "")
