"""Where samples come from: a module for each protocol and for each kind that the portal asks; none keeps anything."""

from monitoring.sources import host, http_probe, promql, scrape, tcp_probe
from monitoring.sources.registry import Asked, Kind, Pulled, find, names, register

register(scrape.Scrape())
register(promql.PromQL())
register(http_probe.HttpProbe())
register(tcp_probe.TcpProbe())
register(host.Host())

__all__ = ["Asked", "Kind", "Pulled", "find", "names", "register"]
