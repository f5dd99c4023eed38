"""How soon somebody should read it, as a table of cases."""

import pytest

from feedback import priority, sentiment
from feedback.priority import Level


@pytest.mark.parametrize(
    ("text", "kind", "rating", "level"),
    [
        ("I lost all my drafts after the upgrade.", "bug", None, Level.URGENT),
        ("My orders are gone!", "other", None, Level.URGENT),
        ("Po aktualizacji zniknęły wszystkie moje pliki.", "other", None, Level.URGENT),
        ("I can see someone else's orders in my account.", "other", None, Level.URGENT),
        ("Widzę cudze zamówienia na swoim koncie", "bug", None, Level.URGENT),
        ("I was charged twice for one order.", "other", None, Level.URGENT),
        ("Pobrało mi pieniądze dwa razy, nie działa płatność.", "bug", None, Level.URGENT),
        ("Payment", "other", 1, Level.URGENT),
        # What names the topic and complains of nothing is not urgent.
        ("Paying is so easy now, great!", "other", 5, Level.LOW),
        ("How do I pay by invoice?", "question", None, Level.NORMAL),
        ("Show the payment in the list", "idea", None, Level.NORMAL),
        ("I thought my data was lost, but support was wonderful and restored it. Thank you!", "praise", 5, Level.LOW),
        ("", "other", 1, Level.HIGH),
        ("The app crashes when I open the settings.", "bug", None, Level.HIGH),
        ("Nie mogę się zalogować.", "bug", None, Level.HIGH),
        ("Terrible, horrible, useless and broken garbage.", "other", None, Level.HIGH),
        ("The button is a bit slow.", "bug", None, Level.NORMAL),
        ("", "other", 3, Level.NORMAL),
        ("", "other", 5, Level.LOW),
        ("I love it.", "praise", None, Level.LOW),
        ("Great app, but where is the export?", "question", 4, Level.NORMAL),
    ],
)
def test_the_rules(text: str, kind: str, rating: int | None, level: Level) -> None:
    felt = sentiment.judge(text) if text else sentiment.of_rating(rating or 0)
    told = priority.judge(text, kind=kind, rating=rating, sentiment=felt)
    assert told.level == level, (felt, told)


def test_the_reasons_quote_what_was_read() -> None:
    felt = sentiment.judge("I lost all my drafts.")
    assert priority.judge("I lost all my drafts.", kind="bug", rating=None, sentiment=felt).because == (
        'data loss: "lost all my drafts"',
    )
