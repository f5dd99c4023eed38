"""One report of a public page as it is read: where it belongs, and how much of it is kept, whoever sent it."""

import math
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from django.conf import settings

from monitoring import routes
from monitoring.actions import capping, incoming, observations
from monitoring.actions.allowances import Allowance
from monitoring.actions.batches import Fault
from portal.audit import Automaton
from portal.errors import Forbidden
from portal.models import ApiKey, Environment, Service

BY = Automaton("browsers")
OLDEST = timedelta(hours=1)
LONGEST_NAME = 100  # characters of a release, a flag, a variant
# All of one kind may name one series: each is kept by its own, and their bucket is computed anew with each.
allowance = Allowance()
ERRORS_AT_ONCE = 20  # that may all be kept an hour, in each web process


@dataclass(slots=True)
class Report:
    """What all of it shares, and what is wrong with its parts."""

    service: Service
    environment: Environment
    labels: dict[str, str]
    now: datetime
    faults: list[Fault] = field(default_factory=list)

    def at(self, age: object) -> datetime:
        """By the server's clock: a browser says how long ago, never when. More than an hour ago is taken for that."""
        if isinstance(age, bool) or not isinstance(age, int | float) or not math.isfinite(age):
            return self.now
        return self.now - min(max(timedelta(0), timedelta(seconds=min(age, 1e6))), OLDEST)

    def take_place(self, metric: str, time: datetime) -> None:
        """One more of this metric within its bucket. Raises Wrong where they are as many as are kept."""
        most = settings.PORTAL_BROWSER_FIGURES
        if not allowance.take((self.service.pk, self.environment.pk, metric, observations.bucket_of(time)), most):
            seconds = observations.BUCKET.total_seconds()
            raise incoming.Wrong(
                "", f"more than {most} of '{metric}' came within {seconds:g} s: the others are dropped"
            )

    def may_keep(self) -> bool:
        """Whether one more occurrence of any error is kept this hour: new groups each have their own share of it."""
        hour = self.now.replace(minute=0, second=0, microsecond=0)
        return allowance.take(
            (self.service.pk, self.environment.pk, hour), ERRORS_AT_ONCE * settings.PORTAL_BROWSER_ERRORS
        )

    def labels_of(self, page: object) -> dict[str, str]:
        if not isinstance(page, str) or incoming.UNKEEPABLE.search(page):
            raise incoming.Wrong("page", "is required" if page is None else "must be a string")
        name = routes.route(page)
        if not name:
            raise incoming.Wrong("page", "may not be empty")
        return self.settled(page=name)

    def settled(self, **said: str) -> dict[str, str]:
        """What all of it shares and this part says, the names of strangers among them bounded."""
        return capping.settle({**self.labels, **said}, self.service, self.environment)


def environment_of(by: ApiKey) -> Environment:
    """The one that the key belongs to."""
    bound = [] if by.all_environments else list(by.environments.all()[:2])
    if len(bound) != 1:
        raise Forbidden("this key does not say which environment its pages are in")
    return bound[0]
