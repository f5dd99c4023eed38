"""Who plays in the demo: the seats, their one password, and what each may do."""

from dataclasses import dataclass

# Known to everybody who reads this. It opens nothing but seats, and there are seats only while the demo is loaded.
PASSWORD = "flightdeck-demo"
AUTOMATON = "demo"
# On every line of the audit trail that tells of the month before the demo was loaded: nobody did that here.
MARK = "demo-history"


@dataclass(frozen=True, slots=True)
class Part:
    username: str
    first_name: str
    last_name: str
    role: str
    may: str
    grants: tuple[str, ...]


CAST = (
    Part(
        "dana", "Dana", "Novak", "release captain", "starts, holds and rolls back; never approves her own", ("captain",)
    ),
    Part("sam", "Sam", "Okafor", "QA", "approves, acknowledges, rolls back", ("approver", "operator")),
    Part("ines", "Ines", "Ferreira", "security", "approves", ("approver",)),
    Part("vera", "Vera", "Lind", "viewer", "sees everything, changes nothing", ("viewer",)),
    Part("olga", "Olga", "Brandt", "owner", "administers; may start empty", ("owner",)),
)
