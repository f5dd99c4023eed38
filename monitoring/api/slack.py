"""Where Slack sends what is pressed in its messages."""

from urllib.parse import parse_qs

import orjson
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from monitoring.actions import slack_buttons
from portal.errors import Forbidden, Refused
from portal.problems import PROBLEM, problem_body


@csrf_exempt  # proven by Slack's signature instead
@require_POST
def interactions(request: HttpRequest) -> HttpResponse:
    """200 with words for whoever pressed; 401 when it is not Slack's, 409 when it was taken before."""
    body = request.body
    try:
        payload = orjson.loads(parse_qs(body.decode()).get("payload", [""])[0])
        if not isinstance(payload, dict):
            raise ValueError("not an object")
    except ValueError:
        return _problem(400, "the body must be a form whose field payload is JSON")
    try:
        words = slack_buttons.press(
            body,
            payload,
            timestamp=request.headers.get("X-Slack-Request-Timestamp", ""),
            signature=request.headers.get("X-Slack-Signature", ""),
        )
    except Forbidden as refusal:
        return _problem(401, str(refusal))
    except Refused as refusal:
        return _problem(409, str(refusal))
    return JsonResponse({"response_type": "ephemeral", "replace_original": False, "text": words})


def _problem(status: int, detail: str) -> HttpResponse:
    return HttpResponse(orjson.dumps(problem_body(status, detail)), status=status, content_type=PROBLEM)
