"""What a text feels like: the interface, and the engine that answers behind it.

`judge` is the only way in. An engine says its name and version with every answer, so that an answer can be told from
a later engine's, and says None where it cannot tell instead of guessing.
"""

from feedback.sentiment import lexicon
from feedback.sentiment.types import Label, Sentiment

__all__ = ["Label", "Sentiment", "judge", "of_rating"]


def judge(text: str, language: str = "") -> Sentiment:
    """The sentiment of a text; `language` is what the writer said it is (`en`, `pl-PL`), or empty."""
    return lexicon.judge(text, language)


def of_rating(rating: int) -> Sentiment:
    """Where nothing was written, the stars speak: 1 and 2 negative, 3 neutral, 4 and 5 positive."""
    label = Label.NEGATIVE if rating <= 2 else Label.POSITIVE if rating >= 4 else Label.NEUTRAL
    return Sentiment(label, score=(rating - 3) / 2, confidence=1.0, engine="rating-1")
