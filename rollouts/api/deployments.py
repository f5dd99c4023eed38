"""Deployments by REST: made, read, and each of their verbs an address."""

from collections.abc import Callable
from typing import Any

from django.db import transaction
from django.shortcuts import get_object_or_404
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from portal import permissions
from portal.drf import DoorSet
from portal.errors import Invalid
from portal.models import Environment
from rollouts.actions import approvals, deployments
from rollouts.api import plans, preconditions
from rollouts.api.deployment_shapes import (
    DeploymentBody,
    DeploymentQuery,
    DeploymentShape,
    ReasonBody,
    StartBody,
    VerbBody,
    VoteBody,
    VoteShape,
)
from rollouts.api.plans import IF_MATCH
from rollouts.models import Deployment, Plan, Release

VERB: dict[str, Any] = {"parameters": [IF_MATCH], "responses": DeploymentShape}


class Deployments(DoorSet):
    serializer_class = DeploymentShape

    @extend_schema(parameters=[DeploymentQuery], responses=DeploymentShape(many=True))
    def list(self, request: Request) -> Response:
        query = DeploymentQuery(data=request.query_params)
        query.is_valid(raise_exception=True)
        wanted = query.validated_data
        names = {"service": "service__key", "environment": "environment__key", "status": "status", "live": "live"}
        found = {names[name]: value for name, value in wanted.items() if value is not None}
        return self.page(self._seen().filter(**found), DeploymentShape)

    @extend_schema(request=DeploymentBody, responses={201: DeploymentShape})
    def create(self, request: Request) -> Response:
        """A draft. `serves` names the flags that bring the release to people; a flag-only release needs one."""
        body = self.body(DeploymentBody)
        errors: dict[str, str] = {}
        release = self._release(body["release"])
        environment = self._environment(body["environment"])
        plan: Plan | None = plans.find(body["plan"])
        for name, found in (("release", release), ("environment", environment), ("plan", plan)):
            if found is None:
                errors[name] = f"there is no such {name}"
        if release is None or environment is None or plan is None:
            raise Invalid(errors)
        deployment = deployments.create(release, environment, plan, body.get("serves", []), by=self.by)
        return self._shown(deployment.pk, status=201)

    @extend_schema(responses=DeploymentShape)
    def retrieve(self, request: Request, pk: int) -> Response:
        return self._shown(pk)

    @extend_schema(request=StartBody, **VERB)
    def start(self, request: Request, pk: int) -> Response:
        """Ask for the approval that the environment wants; begin when none is missing."""
        body = self.body(StartBody)
        return self._do(pk, deployments.start, body, expected_plan_hash=body.get("expected_plan_hash"))

    @extend_schema(request=VerbBody, **VERB)
    def advance(self, request: Request, pk: int) -> Response:
        """To the next stage now, by the same gates, dwell and sample as the portal itself."""
        return self._do(pk, deployments.advance, self.body(VerbBody))

    @extend_schema(request=ReasonBody, **VERB)
    def pause(self, request: Request, pk: int) -> Response:
        """Stay at this weight until a person resumes it."""
        return self._do(pk, deployments.pause, self.body(ReasonBody))

    @extend_schema(request=VerbBody, **VERB)
    def resume(self, request: Request, pk: int) -> Response:
        """Go on in the same stage."""
        return self._do(pk, deployments.resume, self.body(VerbBody))

    @extend_schema(request=ReasonBody, **VERB)
    def roll_back(self, request: Request, pk: int) -> Response:
        """Everybody gets the baseline back, now. Never gated, and harmless twice."""
        return self._do(pk, deployments.roll_back, self.body(ReasonBody))

    @extend_schema(request=ReasonBody, **VERB)
    def cancel(self, request: Request, pk: int) -> Response:
        """Take a run back that has not begun."""
        return self._do(pk, deployments.cancel, self.body(ReasonBody))

    @extend_schema(request=VerbBody, **VERB)
    def retry(self, request: Request, pk: int) -> Response:
        """A new epoch of a run that was rolled back: a draft again."""
        return self._do(pk, deployments.retry, self.body(VerbBody))

    @extend_schema(request=VoteBody, responses={201: VoteShape})
    def vote(self, request: Request, pk: int) -> Response:
        """A person's word on the plan as it was seen. Keys never vote."""
        deployment, body = self._find(pk), self.body(VoteBody)
        cast = approvals.vote(
            deployment,
            body["rule"],
            body["value"],
            by=self.by,
            expected_plan_hash=body["expected_plan_hash"],
            comment=body.get("comment", ""),
        )
        return Response(VoteShape(cast).data, status=201)

    def _do(self, pk: int, verb: Callable[..., bool], body: Any, **options: Any) -> Response:
        deployment, tags = self._find(pk), preconditions.seen(self.request)
        if tags is None:
            verb(deployment, by=self.by, because=body.get("because") or "", **options)
        else:
            with transaction.atomic():
                deployments.expect(deployment, tags)
                verb(deployment, by=self.by, because=body.get("because") or "", **options)
        return self._shown(pk)

    def _shown(self, pk: int, status: int = 200) -> Response:
        deployment = self._find(pk)
        return Response(DeploymentShape(deployment).data, status=status, headers={"ETag": f'"{deployment.tag}"'})

    def _find(self, pk: int) -> Deployment:
        return get_object_or_404(self._seen(), pk=pk)

    def _seen(self) -> Any:
        rows = Deployment.objects.select_related("release__service", "service", "environment", "plan")
        return permissions.visible(self.by, rows.prefetch_related("flags__flag", "stages__gates", "votes__person"))

    def _release(self, by_what: dict[str, Any]) -> Release | None:
        rows = permissions.visible(
            self.by, Release.objects.select_related("service"), environment=None, service="service"
        )
        return rows.filter(**by_what).first()

    def _environment(self, key: str) -> Environment | None:
        rows = permissions.visible(self.by, Environment.objects.all(), environment="id", service=None)
        return rows.filter(key=key).first()
