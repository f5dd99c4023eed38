"""What pages may watch of feedback, and who."""

from feedback import queries
from portal import live, permissions
from portal.models import User


def _may(person: User, what: str | None) -> bool:
    """All of it, or the entry with this id: only those who see anything, and see that one."""
    if not permissions.can(person, "view", environment=permissions.ANY, service=permissions.ANY):
        return False
    return what is None or queries.visible(person).filter(pk=int(what)).exists()


live.topic("feedback", may=_may)
