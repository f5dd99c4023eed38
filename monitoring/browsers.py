"""Which browser and what kind of device a User-Agent header names: a handful of each, for they become labels."""

import re

OTHER = "other"
# In this order: each of them calls itself by the names of those below as well.
FAMILIES = (
    ("edge", re.compile(r"Edg(e|A|iOS)?/")),
    ("opera", re.compile(r"OPR/|Opera")),
    ("samsung", re.compile(r"SamsungBrowser/")),
    ("firefox", re.compile(r"Firefox/|FxiOS/")),
    ("chrome", re.compile(r"Chrom(e|ium)/|CriOS/")),
    ("safari", re.compile(r"Safari/")),
)
TABLET = re.compile(r"iPad|Tablet|Silk/|Android(?!.*Mobile)")
PHONE = re.compile(r"iPhone|iPod|Mobi|Android")


def family_of(user_agent: str) -> str:
    """edge, opera, samsung, firefox, chrome, safari or other."""
    return next((name for name, says in FAMILIES if says.search(user_agent)), OTHER)


def device_of(user_agent: str, *, touches: int = 0) -> str:
    """desktop, tablet or phone. touches: how many fingers its screen tells apart; an iPad calls itself a Macintosh."""
    if TABLET.search(user_agent) or ("Macintosh" in user_agent and touches > 1):
        return "tablet"
    return "phone" if PHONE.search(user_agent) else "desktop"
