"""Where nobody edits by hand: what a protected environment serves changes by an approved change request alone."""

from collections.abc import Iterable

from portal.errors import Refused
from portal.models import Environment
from rollouts.models import Flag, FlagConfig, Segment

ASK = (
    "ask for it with a change request that somebody else approves: POST /api/v1/change-requests/, or /change-requests/"
)


def refuse_config(flag: Flag, environment: Environment) -> None:
    if environment.protected:
        raise Refused(
            f"{environment} is protected, so flag {flag} is not edited there by hand: {ASK}. "
            "Switching it off is always possible"
        )


def refuse_variants(flag: Flag, configs: Iterable[FlagConfig], changed: set[str]) -> None:
    """`configs` are those of this flag; `changed` are the variants that get another value."""
    for config in configs:
        used = sorted(changed & config.variants_used())
        if config.environment.protected and used:
            raise Refused(
                f"{config.environment} is protected, and flag {flag} has {', '.join(used)} there, "
                f"so another value is not given by hand: {ASK}"
            )


def refuse_archiving(flag: Flag, configs: Iterable[FlagConfig]) -> None:
    for config in configs:
        if config.environment.protected and config.enabled:
            raise Refused(f"flag {flag} is on in {config.environment}, which is protected: switch it off there first")


def refuse_segment(segment: Segment, reached: Iterable[FlagConfig]) -> None:
    """`reached` are the configs whose users the segment decides."""
    for config in reached:
        if config.environment.protected:
            raise Refused(
                f"segment {segment} decides whom flag {config.flag} reaches in {config.environment}, which is "
                f"protected, so it is not edited by hand: {ASK}"
            )
