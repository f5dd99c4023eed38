"""A target that exposes its metrics: what Prometheus does with a scrape config."""

from collections.abc import Mapping
from typing import Any, Final

from monitoring.sources import asking, exposition, fields
from monitoring.sources.asking import Failed, Stopwatch
from monitoring.sources.registry import Asked, Pulled
from monitoring.sources.wire import Malformed, TooLarge

MAX_BODY: Final = 4 * 1024 * 1024  # bytes as they come; unpacked, what `packed` allows


class Scrape:
    name = "scrape"
    probes = False
    own = True

    def clean(self, config: Mapping[str, Any]) -> dict[str, Any]:
        return fields.http(config)

    def instance(self, config: Mapping[str, Any]) -> str:
        return fields.place(config["url"])

    def pull(self, asked: Asked) -> Pulled:
        pulled, watch = Pulled(), Stopwatch()
        headers = {
            "Accept": exposition.ACCEPT,
            "Accept-Encoding": "gzip",
            "X-Prometheus-Scrape-Timeout-Seconds": f"{asked.timeout:g}",
        }
        try:
            got = asking.ask(asked.config, asked.secret, timeout=asked.timeout, at_most=MAX_BODY, headers=headers)
            pulled.skew = asking.skew(got, asked.time, watch.seconds)
            if got.status != 200:
                raise Failed(asking.refusal(got))
            body = asking.opened(got, at_most=MAX_BODY)
            pulled.written = exposition.read(body, got.headers.get("Content-Type", ""), time=asked.time)
        except (Failed, TooLarge, Malformed) as error:
            pulled.error = str(error)
        return pulled
