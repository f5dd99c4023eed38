"""What incidents may do with monitoring's own means: capture diagnostics, and ask a machine outside for a state."""

import re
from functools import partial

from monitoring import responses
from monitoring.actions import diagnostics, response_hooks
from monitoring.models import ResponseRun
from monitoring.models.incidents import HOOKED
from portal.errors import Invalid

STATE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._%+/=-]{0,99}")


@responses.register("capture_diagnostics")
def capture_diagnostics(run: ResponseRun) -> responses.Outcome:
    """The last hour's series and errors, attached to the incident for good."""
    attachment = diagnostics.capture(run)
    return responses.Outcome(f"attached {attachment.content['series_count']} series of the last hour", mitigates=False)


def _check_state(argument: str) -> None:
    if not STATE.fullmatch(argument):
        raise Invalid.of("", "after the colon: at most 100 letters, digits and . _ % + / = -, such as scale_up:8")


def _ask(name: str, run: ResponseRun) -> responses.Outcome:
    told = response_hooks.ask(run, name)
    return responses.Outcome(f"asked {', '.join(told)}", mitigates=False, is_asked=True)


for _name in HOOKED:
    responses.register(_name, argument="STATE", check=_check_state)(partial(_ask, _name))
