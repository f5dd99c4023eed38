"""What incidents may do with monitoring's own means: capture diagnostics, and ask a machine outside for a state."""

from functools import partial

from monitoring import responses
from monitoring.actions import diagnostics, response_hooks
from monitoring.models import ResponseRun
from monitoring.models.incidents import HOOKED


@responses.register("capture_diagnostics")
def capture_diagnostics(run: ResponseRun) -> responses.Outcome:
    """The last hour's series and errors, attached to the incident for good."""
    attachment = diagnostics.capture(run)
    return responses.Outcome(f"attached {attachment.content['series_count']} series of the last hour", mitigates=False)


def _ask(name: str, run: ResponseRun) -> responses.Outcome:
    told = response_hooks.ask(run, name)
    return responses.Outcome(f"asked {', '.join(told)}", mitigates=False, is_asked=True)


for _name in HOOKED:
    responses.register(_name)(partial(_ask, _name))
