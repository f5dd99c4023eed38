"""Slack: an incoming webhook, or a bot that keeps one living message for each incident.

The bot posts once, edits that message in place when something changes, and tells what happened in its thread. Slack
knows no idempotency: the dedupe key stands in the message's metadata, and before a message is posted again the bot
looks whether an earlier attempt has arrived after all (where its token allows it to read the channel).
"""

from collections.abc import Mapping
from typing import Any

import httpx
import orjson
from django.conf import settings

from monitoring.channels import fields, http
from monitoring.channels.registry import Answer, Message, Permanent, Retry, Sent
from portal.errors import Invalid

MAX_SECTION = 3000
MAX_HEADER = 150
REPLY = "slack.reply"  # the words that answer a pressed button
OPEN = frozenset({"triggered", "acknowledged", "mitigated"})
LIVE = {"triggered": ":red_circle:", "acknowledged": ":large_orange_circle:", "mitigated": ":large_yellow_circle:"}
OVER = ":white_check_mark:"
# All else that Slack answers with `ok: false` would be answered to the same message again.
PASSING = frozenset(
    {
        "fatal_error", "internal_error", "ratelimited", "rate_limited", "request_timeout", "service_unavailable",
        "team_added_to_org",
    }
)  # fmt: skip
# The living message can be edited no more: a new one takes its place.
GONE = frozenset({"message_not_found", "cant_update_message", "edit_window_closed"})


class IncomingWebhook:
    """Configuration: `url`, and `buttons` where the webhook's app sends what is pressed to us."""

    name = "slack_webhook"
    pace = 1.0
    folds_after = 10

    def clean(self, config: Mapping[str, Any]) -> dict[str, Any]:
        fields.only(config, {"url", "buttons"})
        return {"url": http.check_address(config.get("url")), **fields.yes_or_no(config, "buttons")}

    def send(self, message: Message) -> Answer:
        if message.kind == REPLY:
            return _reply(message)
        body = orjson.dumps({"text": _text(message), "blocks": _blocks(message)})
        answer = http.post(str(message.config["url"]), content=body, headers=_keyed(message))
        if isinstance(answer, httpx.Response) and answer.status_code == 200 and answer.text.strip() != "ok":
            return Retry(f"HTTP 200, but not Slack's ok: {answer.text[:200]}".strip())
        return http.read(answer)


class Bot:
    """Configuration: `channel` (its id, or a person's); the secret is the bot's token."""

    name = "slack"
    pace = 1.0
    folds_after = 10

    def clean(self, config: Mapping[str, Any]) -> dict[str, Any]:
        fields.only(config, {"channel", "buttons"})
        channel = config.get("channel")
        if not isinstance(channel, str) or not 1 <= len(channel) <= 80 or any(c.isspace() for c in channel):
            raise Invalid.of("channel", "the id of a channel or of a person, as C0123456789")
        return {"channel": channel, **fields.yes_or_no(config, "buttons")}

    def send(self, message: Message) -> Answer:
        if message.kind == REPLY:
            return _reply(message)
        said = {"text": _text(message), "blocks": _blocks(message)}
        if not isinstance(message.payload.get("incident"), Mapping):
            return _sent(self._post(message, said))
        mark = dict(message.mark)
        if mark:
            edited = _call(message, "chat.update", {"channel": mark["channel"], "ts": mark["ts"], **said})
            if isinstance(edited, Permanent) and edited.reason.removeprefix("Slack: ") in GONE:
                mark = {}
            elif not isinstance(edited, Mapping):
                return edited
            else:
                line = {"channel": mark["channel"], "thread_ts": mark["ts"], "text": _line(message)}
                return _sent(self._post(message, line))
        posted = self._post(message, said)
        if not isinstance(posted, Mapping):
            return posted
        return Sent(mark={"channel": posted.get("channel") or message.config["channel"], "ts": posted.get("ts")})

    def _post(self, message: Message, said: Mapping[str, Any]) -> Mapping[str, Any] | Retry | Permanent:
        """Post it, unless an earlier attempt is there already."""
        if message.again and (found := self._earlier(message, said)) is not None:
            return found
        metadata = {"event_type": "flightdeck", "event_payload": {"key": message.dedupe_key}}
        body = {"channel": message.config["channel"], "unfurl_links": False, "metadata": metadata, **said}
        return _call(message, "chat.postMessage", body)

    def _earlier(self, message: Message, said: Mapping[str, Any]) -> Mapping[str, Any] | None:
        asked: dict[str, Any] = {"include_all_metadata": True, "limit": 100}
        if "thread_ts" in said:
            method, asked = "conversations.replies", asked | {"channel": said["channel"], "ts": said["thread_ts"]}
        else:
            method, asked = "conversations.history", asked | {"channel": message.config["channel"]}
        answer = _call(message, method, asked)
        if not isinstance(answer, Mapping):
            return None  # not allowed to look, perhaps: twice is better than never
        for one in answer.get("messages") or []:
            payload = (one.get("metadata") or {}).get("event_payload") or {}
            if payload.get("key") == message.dedupe_key:
                return {"ts": one.get("ts"), "channel": asked["channel"]}
        return None


def email_of(token: str, user: str) -> str:
    """The e-mail address of a Slack user; empty when Slack does not say."""
    asking = Message("slack.lookup", "", {}, {}, token)
    answer = _call(asking, "users.info", {"user": user}, form=True)
    if not isinstance(answer, Mapping):
        return ""
    profile = (answer.get("user") or {}).get("profile") or {}
    return str(profile.get("email") or "")


def _call(
    message: Message, method: str, body: Mapping[str, Any], *, form: bool = False
) -> Mapping[str, Any] | Retry | Permanent:
    url = f"{settings.PORTAL_SLACK_API_URL.rstrip('/')}/{method}"
    headers = {**_keyed(message), "Authorization": f"Bearer {message.secret}"}
    if form:
        headers["Content-Type"] = "application/x-www-form-urlencoded"
        content = str(httpx.QueryParams(dict(body))).encode()
    else:
        headers["Content-Type"] = "application/json; charset=utf-8"
        content = orjson.dumps(body)
    answer = http.post(url, content=content, headers=headers)
    if not isinstance(answer, httpx.Response):
        return answer
    if answer.status_code != 200:
        refused = http.read(answer)
        return Retry(f"HTTP {answer.status_code}") if isinstance(refused, Sent) else refused
    try:
        found = orjson.loads(answer.content)
    except ValueError:
        return Retry(f"not Slack's JSON: {answer.text[:200]}")
    if not isinstance(found, Mapping):
        return Retry(f"not Slack's JSON: {answer.text[:200]}")
    if found.get("ok") is True:
        return found
    error = str(found.get("error") or "no reason given")
    if error in PASSING:
        return Retry(f"Slack: {error}", after=http.retry_after(answer.headers.get("Retry-After", "")))
    return Permanent(f"Slack: {error}")


def _sent(answer: Mapping[str, Any] | Retry | Permanent) -> Answer:
    return answer if isinstance(answer, Retry | Permanent) else Sent()


def _reply(message: Message) -> Answer:
    said = {"response_type": "ephemeral", "replace_original": False, "text": _escape(str(message.payload["text"]))}
    return http.read(
        http.post(str(message.payload["response_url"]), content=orjson.dumps(said), headers=_keyed(message))
    )


def _keyed(message: Message) -> dict[str, str]:
    return {"Idempotency-Key": message.dedupe_key} if message.dedupe_key else {}


def _text(message: Message) -> str:
    """What notifications and old clients show."""
    incident = message.payload.get("incident")
    if isinstance(incident, Mapping):
        return _escape(f"[{incident.get('severity')}] {_line(message)}")[:MAX_SECTION]
    return _escape(_line(message))[:MAX_SECTION]


def _line(message: Message) -> str:
    return str(message.payload.get("text") or message.kind)[:MAX_SECTION]


def _blocks(message: Message) -> list[dict[str, Any]]:
    incident = message.payload.get("incident")
    foot = {"type": "context", "elements": [{"type": "mrkdwn", "text": f"Flightdeck · {_escape(message.dedupe_key)}"}]}
    if not isinstance(incident, Mapping):
        listed = "".join(f"\n• {_escape(str(one.get('text')))}" for one in message.payload.get("folded") or [])
        return [_section(_escape(_line(message)) + listed), foot]
    status, url = str(incident.get("status")), str(incident.get("url") or "")
    where = " in ".join(str(incident[name]) for name in ("service", "environment") if incident.get(name)) or "–"
    facts = {
        "Severity": incident.get("severity"),
        "Status": status,
        "Where": where,
        "Who": incident.get("acknowledged_by") or "nobody yet",
    }
    blocks: list[dict[str, Any]] = [
        {
            "type": "header",
            "text": {
                "type": "plain_text",
                "text": f"{LIVE.get(status, OVER)} {incident.get('title')}"[:MAX_HEADER],
                "emoji": True,
            },
        },
        {
            "type": "section",
            "fields": [{"type": "mrkdwn", "text": f"*{name}*\n{_escape(str(value))}"} for name, value in facts.items()],
        },
        _section(_escape(_line(message))),
    ]
    buttons = _buttons(message, incident, status) if message.config.get("buttons", True) else []
    if url:
        buttons.append(
            {"type": "button", "action_id": "open", "text": {"type": "plain_text", "text": "Open"}, "url": url}
        )
    if buttons:
        blocks.append({"type": "actions", "block_id": "incident", "elements": buttons})
    return [*blocks, foot]


def _buttons(message: Message, incident: Mapping[str, Any], status: str) -> list[dict[str, Any]]:
    if status not in OPEN:
        return []
    value = f"{incident.get('id')}:{message.channel}"
    verbs: list[tuple[str, str, str | None]] = [("resolve", "Resolve", None)]
    if not incident.get("acknowledged_by"):
        verbs.insert(0, ("acknowledge", "Acknowledge", "primary"))
    if proposed := incident.get("proposed"):
        verbs.insert(0, ("confirm", f"Do it: {', '.join(map(str, proposed))}"[:75], "danger"))
    return [
        {
            "type": "button",
            "action_id": verb,
            "value": value,
            "text": {"type": "plain_text", "text": label},
            **({"style": style} if style else {}),
        }
        for verb, label, style in verbs
    ]


def _section(text: str) -> dict[str, Any]:
    return {"type": "section", "text": {"type": "mrkdwn", "text": text[:MAX_SECTION]}}


def _escape(text: str) -> str:
    """Slack's three: nobody's title may ping a whole channel."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
