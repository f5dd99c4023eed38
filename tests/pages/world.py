"""A portal in use: some of everything that pages and the admin list, made by the product's own actions."""

from dataclasses import dataclass, field
from datetime import timedelta
from itertools import count

from axes.models import AccessAttempt, AccessFailureLog, AccessLog
from django.contrib.auth.models import Group
from django.test import TestCase
from django_otp.plugins.otp_totp.models import TOTPDevice

from feedback.actions import entries
from monitoring.actions import (
    action_items,
    capacities,
    coverage,
    definitions,
    errors,
    escalation_policies,
    events,
    exposures,
    incidents,
    judging,
    postmortems,
    preferences,
    rejections,
    report_subscriptions,
    reported,
    reports,
    rotas,
    scaling,
    scaling_policies,
    silences,
    slos,
    sources,
    statuspage,
    thresholds,
    unit_costs,
    watchdogs,
)
from monitoring.actions.exposures import Shown
from monitoring.models import Channel, Incident, IncidentAttachment, OutboxMessage, Recommendation
from monitoring.sources import alertmanager
from portal import jobs
from portal.models import Environment, User
from portal.tasks import seal_audit
from rollouts.actions import (
    approvals,
    audiences,
    change_requests,
    contexts,
    deployments,
    flags,
    plans,
    segments,
    variable_names,
)  # fmt: skip
from rollouts.models import FOUR_EYES, ChangeRequest, Deployment, Flag, Release
from tests import make
from tests.make import BY

_number = count(1)


@dataclass
class World:
    """What was made, of each kind in its order."""

    environment: Environment
    deployments: list[Deployment] = field(default_factory=list)
    waiting: list[Deployment] = field(default_factory=list)
    incidents: list[Incident] = field(default_factory=list)
    flags: list[Flag] = field(default_factory=list)
    releases: list[Release] = field(default_factory=list)
    requests: list[ChangeRequest] = field(default_factory=list)

    def grow(self, to: int) -> "World":
        """More of everything, until there are so many of each."""
        with TestCase.captureOnCommitCallbacks(execute=True):
            while len(self.deployments) < to:
                self._one_more()
            judging.run()
        self.incidents = list(Incident.objects.order_by("pk"))
        seal_audit()
        return self

    def _one_more(self) -> None:
        n = next(_number)
        service = make.service(f"service-{n}")
        voter = make.person(f"approver-{n}", "approver")
        flag = make.flag(f"flag-{n}", on_in=[self.environment])
        flags.change(flag, {"service": service}, by=BY)
        release = make.release(f"1.{n}", service=service, notes="faster")
        arm = {"service": service.key, "flag": flag.key, "variant": "on"}
        content = {
            "stages": [
                {"name": "canary", "weight": 5, "dwell": 600, "gates": [_gate(arm), {"kind": "approval"}]},
                {"name": "everybody", "weight": 100, "dwell": 600, "gates": []},
            ],
            "guardrails": [_guardrail(f"errors of {n}", arm)],
        }
        plan = plans.write(f"plan-{n}", content, by=BY)[0]
        deployment = make.deployment(release=release, environment=self.environment, plan=plan, flags=[flag])
        deployments.start(deployment, by=BY)
        deployments.reconcile(deployment, now=jobs.database_now())
        self.deployments.append(deployment)
        self.releases.append(release)
        self.flags.append(flag)
        self._waiting(n, voter)
        self._asked(flag, voter)
        self._incident(n)
        self._things_beside(n, voter)
        self._use(n, flag.key)
        labels = {"page": f"/page-{n}", "release": f"1.{n}", "flag": flag.key, "variant": "on"}
        make.page_view(service.key, self.environment.key, lcp=2.0, inp=0.3, cls=0.3, labels=labels)
        make.page_view(make.service("watched").key, self.environment.key, lcp=5.0, ttfb=0.5, labels=labels)

    def _waiting(self, n: int, voter: User) -> None:
        """A deployment that somebody has to approve; with a word that decides nothing."""
        release = make.release("0.1", service=make.service(f"other-{n}"))
        waiting = make.deployment(release=release, environment=make.production(), stages=[50, 100])
        deployments.start(waiting, by=BY)
        approvals.vote(
            waiting, FOUR_EYES, "abstain", by=voter, expected_plan_hash=waiting.plan_hash, comment="not my service"
        )
        self.waiting.append(waiting)

    def _asked(self, flag: Flag, voter: User) -> None:
        """A change request that was approved and then edited: a word that counts no longer."""
        request = change_requests.open(flag, make.production(), {"enabled": True}, by=BY, because="ready")
        change_requests.approve(request, by=voter, comment="fine")
        change_requests.edit(request, {"overrides": {"on": ["u1"]}}, by=BY)
        self.requests.append(request)

    def _incident(self, n: int) -> None:
        """A threshold that is crossed, whose response finds nothing to act on; and an incident by hand."""
        service = make.service(f"watched-{n}")
        labels = {"service": service.key, "environment": self.environment.key}
        spec = {
            "name": f"latency of {n}",
            "metric": f"latency_{n}",
            "aggregation": "mean",
            "operator": ">",
            "error": 1.0,
            "window": 600,  # on a machine that is busy a minute is over before it is looked at
            "matchers": labels,
            "response": "roll_back",
        }
        thresholds.create(spec, by=BY)
        make.measured(f"latency_{n}", 3.0, 4.0, service=service.key, environment=self.environment.key)
        incidents.open_by_hand(f"by hand {n}", by=BY, service=service, environment=self.environment)
        over = incidents.open_by_hand(f"over {n}", by=BY, service=service, environment=self.environment)
        incidents.resolve(over, by=BY)
        postmortems.edit(over.post_mortem, {"summary": f"what {n} was"}, by=BY)
        content: dict[str, list[str]] = {"series": [], "firing": [], "rejections": []}
        IncidentAttachment.objects.create(incident=over, name="diagnostics", content=content, sha256="0" * 64)
        action_items.add(over, {"title": f"watch {n}"}, by=BY)

    def _things_beside(self, n: int, voter: User) -> None:
        now = jobs.database_now()
        entries.submit(
            service=f"service-{n}", environment=self.environment.key, by=BY, rating=2, text="slow, and then it failed",
            labels={"release": f"1.{n}"},
        )  # fmt: skip
        make.key("read")
        segments.create(f"segment-{n}", by=BY, included=["u1"])
        audience = audiences.create(f"audience-{n}", segment=f"segment-{n}", by=BY)
        audiences.enrol(audience, ["u2"], joined=True, by=BY)
        where = {"service": f"watched-{n}", "environment": self.environment.key}
        slo = {"name": f"slo of {n}", "kind": "uptime", "metric": f"up_{n}", "objective": 99.0, "matchers": where}
        slos.create(f"slo-{n}", slo, by=BY)
        make.measured(f"up_{n}", 1.0, 0.0, service=f"watched-{n}", environment=self.environment.key)
        disk = {"name": f"disk of {n}", "metric": f"up_{n}", "limit": 5.0, "matchers": where}
        capacities.create(f"disk-{n}", disk, by=BY)
        policy = {"name": f"scaling of {n}", "metric": f"up_{n}", "target": 0.1, "instances": 2}
        scaling_policies.create(f"scaling-{n}", {**policy, **where}, by=BY)
        scaling.run()
        unit_costs.put(make.service(f"watched-{n}"), self.environment, {"instance_price": 40.0}, by=BY)
        wanted = report_subscriptions.create(make.person(f"reader-{n}", "captain"), {"period": "daily"}, by=BY)
        reports.make_now(wanted, by=BY)
        Recommendation.objects.create(
            key=f"test:{n}", rule="noisy_threshold", title=f"recommendation {n}", advice="Look.", unit="false alerts",
            evidence={}, service=make.service(f"watched-{n}"), environment=self.environment, expected=3.0,
        )  # fmt: skip
        definitions.create(f"definition-{n}", {"name": f"definition {n}"}, by=BY)
        elsewhere = [{"name": "service", "value": "somewhere-else"}]
        make.service("somewhere-else")
        silences.silence(elsewhere, ends_at=now + timedelta(hours=1), comment=f"moving {n}", by=BY)
        once = {"name": f"maintenance {n}", "matchers": elsewhere, "ends_at": now + timedelta(hours=1)}
        silences.plan(once, by=BY)
        silences.inhibit({"name": f"rule {n}", "source": elsewhere, "target": elsewhere}, by=BY)
        layer = {"people": [voter.username], "every": "week", "handover": "09:00", "starts_on": "2026-01-05"}
        rota = rotas.create(f"rota-{n}", {"layers": [layer]}, by=BY)
        rotas.stand_in(rota, voter, ends_at=now + timedelta(hours=1), by=BY, comment=f"swap {n}")
        preferences.choose(voter, {"zone": "Europe/Warsaw"}, by=voter)
        steps = [{"delay": 900, "people": [voter.username]}, {"delay": 900, "rotas": [rota.key]}]
        escalation_policies.create(f"policy-{n}", {"steps": steps}, by=BY)
        told = {"labels": {"alertname": f"rule {n}", "severity": "warning"}, "status": "firing"}
        reported.take([told], alertmanager.of_webhook, by=BY, way="webhook")
        target = {"name": f"source-{n}", "kind": "http", "config": {"url": f"https://{n}.example.com/"}}
        at = {"service": make.service(f"service-{n}"), "environment": self.environment}
        sources.create({**target, **at}, by=BY)
        coverage.waive(make.service(f"watched-{n}"), self.environment, "traffic", by=BY, because="it has none")
        watchdogs.create({"key": f"job-{n}", **at}, by=BY)
        rejections.note(f"scrape: service-{n}", "value: must be a number", by=BY, example="NaN")
        variable_names.change(make.environment(f"environment-{n}"), {"prefix": "FLAG_"}, by=BY)
        jobs.beat(f"sweep-{n}", cycle_ms=3, backlog=0)
        Group.objects.create(name=f"group-{n}")
        TOTPDevice.objects.create(user=voter, name=f"phone-{n}")
        seen = {"username": f"somebody-{n}", "ip_address": "192.0.2.1", "user_agent": "browser", "path_info": "/login/"}
        AccessAttempt.objects.create(**seen, failures_since_start=1, get_data="", post_data="")
        AccessLog.objects.create(**seen)
        AccessFailureLog.objects.create(**seen)
        component = statuspage.create_component({"name": f"component-{n}"}, by=BY)
        statuspage.publish(f"trouble-{n}", "We look into it.", by=BY, components=[component])
        channel = Channel.objects.create(name=f"channel-{n}", kind="webhook", config={"url": "https://example.com/"})
        OutboxMessage.objects.create(
            channel=channel, kind="opened", dedupe_key=f"message-{n}", payload={}, give_up_at=now + timedelta(hours=1)
        )
        OutboxMessage.objects.create(
            channel=channel, kind="opened", dedupe_key=f"dead-{n}", payload={"text": "too late"}, give_up_at=now,
            state="dead", attempts=1, last_error="410 Gone",
        )  # fmt: skip

    def _use(self, n: int, flag: str) -> None:
        """A unit that was shown the flag, and what it did then."""
        now = jobs.database_now()
        sample = contexts.read(self.environment.key, {"targetingKey": f"unit-{n}", "plan": "pro"})
        contexts.keep([sample] if sample else [], at=now)
        shown = Shown(self.environment.key, flag, "on", f"unit-{n}", now, 1)
        exposures.count(f"web-{n}", 1, {(self.environment.key, flag, "on", exposures.minute_of(now)): 7}, [shown])
        bought = {"name": "order_placed", "unit": f"unit-{n}", "environment": self.environment.key, "value": 4.5}
        events.record([bought], by=BY)
        where = {"service": f"service-{n}", "environment": self.environment.key, "unit": f"unit-{n}"}
        stack = (
            'Traceback (most recent call last):\n  File "/srv/cart.py", line 12, in total\n    return prices[name]\n'
        )
        failed = {"type": f"KeyError{n}", "message": "'price'", "stack": stack, "release": f"1.{n}", **where}
        errors.record([failed, failed | {"severity": "critical", "release": f"2.{n}"}], by=BY)


def world(size: int) -> World:
    return World(make.environment("staging")).grow(size)


def _gate(arm: dict[str, str]) -> dict[str, object]:
    return {
        "kind": "metric",
        "metric": "errors_total",
        "denominator": "requests_total",
        "matchers": arm,
        "aggregation": "increase",
        "operator": "<",
        "value": 0.02,
        "window": 60,
        "min_count": 10,
    }


def _guardrail(name: str, arm: dict[str, str]) -> dict[str, object]:
    return {
        "kind": "threshold",
        "name": name,
        "metric": "errors_total",
        "denominator": "requests_total",
        "matchers": arm,
        "aggregation": "increase",
        "operator": ">",
        "error": 0.05,
        "window": 60,
    }
