"""What incidents may do to rollouts: take a deployment back, pause it, kill its flags."""

from monitoring import responses
from monitoring.models import ResponseRun
from portal import jobs
from portal.audit import Automaton
from portal.errors import Refused
from portal.models import Environment, Service
from rollouts import progress
from rollouts.actions import blame, deployments, flags, runs
from rollouts.models import UNDER_WAY, Deployment, Flag

BY = Automaton("incident response")


def place(target: str) -> responses.Place:
    """Where a target is: whoever names it in a threshold must be allowed to configure there."""
    kind, _, name = target.partition(":")
    if kind == "deployment" and name.isascii() and name.isdigit():
        found = Deployment.objects.select_related("environment", "service").filter(pk=int(name)).first()
        return (found.environment, found.service) if found else (None, None)
    key, _, environment = name.rpartition("@")
    service = Service.objects.filter(key=key).first() if kind == "service" else None
    return Environment.objects.filter(key=environment).first(), service


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


@responses.register("kill", place=place)
def kill(run: ResponseRun) -> responses.Outcome:
    """Everybody gets the off variant of the flag, or of each flag that the deployment serves."""
    kind, _, name = run.target.partition(":")
    if kind == "flag":
        key, environment = _at(name)
        flag = Flag.objects.live().filter(key=key).first()
        if flag is None:
            raise Refused(f"there is no flag {key}")
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
