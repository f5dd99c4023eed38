"""Microsoft Teams: an Adaptive Card to the webhook of a workflow."""

from collections.abc import Mapping
from typing import Any

import orjson

from monitoring.channels import fields, http
from monitoring.channels.registry import Answer, Message

MAX_TEXT = 5000
LOOKS = {"triggered": "attention", "acknowledged": "warning", "mitigated": "warning"}


class Teams:
    """Configuration: `url`, as the workflow "Post to a channel when a webhook request is received" shows it."""

    name = "teams"
    pace = 0.25
    folds_after = 10

    def clean(self, config: Mapping[str, Any]) -> dict[str, Any]:
        fields.only(config, {"url"})
        return {"url": http.check_address(config.get("url"))}

    def send(self, message: Message) -> Answer:
        card = {
            "type": "message",
            "attachments": [
                {
                    "contentType": "application/vnd.microsoft.card.adaptive",
                    "contentUrl": None,
                    "content": _card(message),
                }
            ],
        }
        headers = {"Idempotency-Key": message.dedupe_key}
        return http.read(http.post(str(message.config["url"]), content=orjson.dumps(card), headers=headers))


def _card(message: Message) -> dict[str, Any]:
    incident = message.payload.get("incident")
    text = str(message.payload.get("text") or message.kind)[:MAX_TEXT]
    body: list[dict[str, Any]] = []
    actions: list[dict[str, Any]] = []
    if isinstance(incident, Mapping):
        status = str(incident.get("status"))
        title = f"[{incident.get('severity')}] {incident.get('title')}"
        body.append({**_block(title), "weight": "bolder", "size": "medium", "color": LOOKS.get(status, "good")})
        where = " in ".join(str(incident[name]) for name in ("service", "environment") if incident.get(name))
        facts = {"Status": status, "Where": where or "–", "Who": incident.get("acknowledged_by") or "nobody yet"}
        body.append(
            {"type": "FactSet", "facts": [{"title": name, "value": str(value)} for name, value in facts.items()]}
        )
        if incident.get("url"):
            actions.append({"type": "Action.OpenUrl", "title": "Open the incident", "url": incident["url"]})
    body.append(_block(text))
    body += [_block(f"- {one.get('text')}") for one in message.payload.get("folded") or []]
    body.append({**_block(f"Flightdeck · {message.dedupe_key}"), "isSubtle": True, "size": "small"})
    return {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "body": body,
        "actions": actions,
    }


def _block(text: str) -> dict[str, Any]:
    return {"type": "TextBlock", "text": text, "wrap": True}
