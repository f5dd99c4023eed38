"""What an incident may do by itself: names here, deeds registered by whoever can do them."""

from collections.abc import Callable
from dataclasses import dataclass

from monitoring.models import ResponseRun
from portal.errors import Refused
from portal.models import Environment, Service


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a response did, in the words of the timeline, and whether the users are relieved by it."""

    text: str
    mitigates: bool = True
    # A machine outside was asked: the run is over when the outbox has its answer.
    is_asked: bool = False


# Runs inside the transaction that settles the run, and may run twice after a crash: a second time it must find
# its work done. It raises Refused when a rule says no for good; any other exception is tried again later.
Response = Callable[[ResponseRun], Outcome]
# Where a target is: whoever names it in a threshold must be allowed to configure there. None is "everywhere".
Place = tuple[Environment | None, Service | None]
Finder = Callable[[str], Place]

_responses: dict[str, Response] = {}
_finders: dict[str, Finder] = {}


def register(name: str, *, place: Finder | None = None) -> Callable[[Response], Response]:
    """Names a response. In `run.target` it gets "kind:identity", or "service:KEY@ENVIRONMENT"."""

    def add(response: Response) -> Response:
        if name in _responses:
            raise ValueError(f"two responses are named {name}")
        _responses[name] = response
        if place is not None:
            _finders[name] = place
        return response

    return add


# "propose_NAME": nothing is done until a person says so.
PROPOSAL = "propose_"


def known() -> list[str]:
    """Every name that may be given, the proposals of each included."""
    return sorted([*_responses, *(PROPOSAL + name for name in _responses)])


def of(name: str) -> tuple[str, bool]:
    """The response that a name means, and whether it is only proposed."""
    return name.removeprefix(PROPOSAL), name.startswith(PROPOSAL)


def place_of(name: str, target: str) -> Place:
    """Where the response would act; everywhere, if nobody can say."""
    finder = _finders.get(of(name)[0])
    return finder(target) if finder is not None else (None, None)


def perform(run: ResponseRun) -> Outcome:
    """Do it. Refused when nobody has registered the name (any more)."""
    response = _responses.get(run.name)
    if response is None:
        raise Refused(f"nothing in this portal answers to {run.name}")
    return response(run)
