"""What an incident may do by itself: names here, deeds registered by whoever can do them."""

from collections.abc import Callable
from dataclasses import dataclass

from monitoring.models import ResponseRun
from portal.errors import Invalid, Refused
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
# Of an argument and a target, either of which may be empty.
Finder = Callable[[str, str], Place]
# Raises Invalid, in words that go behind the name of the field, when the argument can mean nothing.
Check = Callable[[str], None]

# "propose_NAME": nothing is done until a person says so. "NAME:ARGUMENT": what exactly.
PROPOSAL = "propose_"
ARGUMENT = ":"
MOST_NAME = 300  # characters of a name with its argument


@dataclass(frozen=True, slots=True)
class _Known:
    response: Response
    argument: str = ""  # how it is written in lists of what there is; empty: takes none
    is_needed: bool = False
    check: Check | None = None
    place: Finder | None = None


_known: dict[str, _Known] = {}


def register(
    name: str,
    *,
    argument: str = "",
    is_needed: bool = False,
    check: Check | None = None,
    place: Finder | None = None,
) -> Callable[[Response], Response]:
    """Names a response. In `run.target` it gets "kind:identity", or "service:KEY@ENVIRONMENT".

    `argument` is the form of what may stand (or, `is_needed`, must) after a colon behind the name: `run.argument`.
    """

    def add(response: Response) -> Response:
        if name in _known:
            raise ValueError(f"two responses are named {name}")
        _known[name] = _Known(response, argument, is_needed, check, place)
        return response

    return add


def known() -> list[str]:
    """Every name that may be given, the proposals of each included."""
    return sorted([*_known, *(PROPOSAL + name for name in _known)])


def forms() -> list[str]:
    """How each may be written, its argument included."""
    return [name + _form(_known[of(name)[0]]) for name in known()]


def of(name: str) -> tuple[str, bool]:
    """The response that a name means, with its argument, and whether it is only proposed."""
    return name.removeprefix(PROPOSAL), name.startswith(PROPOSAL)


def fault(name: str) -> str:
    """What is wrong with a name and its argument; nothing if it is one of those there are."""
    word, colon, argument = of(name)[0].partition(ARGUMENT)
    one = _known.get(word)
    if one is None:
        return f"must be one of {', '.join(forms()) or 'none'}"
    if not argument and (one.is_needed or colon):
        return f"{word} is written {word}{_form(one)}"
    if argument and not one.argument:
        return f"{word} takes no argument"
    if len(name) > MOST_NAME:
        return f"at most {MOST_NAME} characters"
    try:
        if argument and one.check is not None:
            one.check(argument)
    except Invalid as error:
        return str(error)
    return ""


def place_of(name: str, target: str) -> Place | None:
    """Where the response would act; everywhere, if nobody can say. None: where the alert is, and nowhere else."""
    word, _, argument = of(name)[0].partition(ARGUMENT)
    finder = _known[word].place if word in _known else None
    if finder is not None and (target or argument):
        return finder(argument, target)
    return (None, None) if target else None


def perform(run: ResponseRun) -> Outcome:
    """Do it. Refused when nobody has registered the name (any more)."""
    one = _known.get(run.word)
    if one is None:
        raise Refused(f"nothing in this portal answers to {run.word}")
    return one.response(run)


def _form(one: _Known) -> str:
    if not one.argument:
        return ""
    return f"{ARGUMENT}{one.argument}" if one.is_needed else f"[{ARGUMENT}{one.argument}]"
