"""Is a page, an API or an authentication service there, as it should be, and how long does its certificate last."""

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from monitoring.sources import asking, certificates, fields
from monitoring.sources.asking import Failed, Stopwatch
from monitoring.sources.registry import Asked, Pulled
from portal.errors import Invalid
from portal.outgoing import Got

MAX_BODY: Final = 1024 * 1024  # bytes in which a text is looked for
METHODS: Final = ("GET", "HEAD", "POST")


class HttpProbe:
    name = "http"
    probes = True
    own = True

    def clean(self, config: Mapping[str, Any]) -> dict[str, Any]:
        made = fields.http(config, "method", "body", "content_type", "expect_status", "expect_text", "refuse_text")
        made["method"] = fields.one_of(config, "method", METHODS, "GET")
        for name in ("body", "content_type", "expect_text", "refuse_text"):
            if value := fields.text(config, name):
                made[name] = value
        if made["method"] != "POST" and made.get("body"):
            raise Invalid.of("body", "is for method POST")
        if not made.get("content_type", "").isprintable() or not made.get("content_type", "").isascii():
            raise Invalid.of("content_type", "must be printable ASCII")
        expected = config.get("expect_status")
        if expected is not None:
            if not isinstance(expected, list) or not all(type(one) is int and 100 <= one <= 599 for one in expected):
                raise Invalid.of("expect_status", "must be a list of statuses from 100 to 599; without it, 200 to 299")
            if expected:
                made["expect_status"] = expected
        return made

    def instance(self, config: Mapping[str, Any]) -> str:
        return str(config["url"])

    def pull(self, asked: Asked) -> Pulled:
        pulled, watch, config = Pulled(), Stopwatch(), asked.config
        headers = {"Accept-Encoding": "identity"}
        if config.get("content_type"):
            headers["Content-Type"] = config["content_type"]
        try:
            got = asking.ask(
                config,
                asked.secret,
                method=config.get("method", "GET"),
                content=config.get("body", "").encode(),
                headers=headers,
                timeout=asked.timeout,
                at_most=MAX_BODY,
            )
            pulled.measured["probe_http_status_code"] = float(got.status)
            pulled.measured |= certificates.measured(got.certificate, time=asked.time)
            pulled.skew = asking.skew(got, asked.time, watch.seconds)
            pulled.error = _fault(config, got)
        except Failed as error:
            pulled.error = str(error)
            left = asked.timeout - watch.seconds
            if pulled.error.startswith(asking.DISTRUSTED) and left > 0:
                parts = urlsplit(config["url"])
                der = certificates.look(str(parts.hostname), parts.port or 443, timeout=left)
                pulled.measured |= certificates.measured(der, time=asked.time)
        return pulled


def _fault(config: Mapping[str, Any], got: Got) -> str:
    """Why this is not what was expected; empty when it is."""
    expected = config.get("expect_status")
    if (got.status not in expected) if expected else not 200 <= got.status < 300:
        return asking.refusal(got)
    wanted, refused = config.get("expect_text"), config.get("refuse_text")
    if wanted or refused:
        text = got.body.decode(errors="replace")
        if wanted and wanted not in text:
            return f"the answer does not contain '{wanted[:100]}'"
        if refused and refused in text:
            return f"the answer contains '{refused[:100]}'"
    return ""
