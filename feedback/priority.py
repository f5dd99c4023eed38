"""How soon somebody should read an entry: plain rules, each with its reason.

urgent  data or money seems lost, or a stranger may see what is not theirs; unless the writer is content
high    one star, or strongly negative, or the writer cannot get on at all
low     content, nothing to do
normal  everything else
"""

import re
import unicodedata
from dataclasses import dataclass
from enum import StrEnum

from feedback.sentiment.types import Label, Sentiment


class Level(StrEnum):
    URGENT = "urgent"
    HIGH = "high"
    NORMAL = "normal"
    LOW = "low"


@dataclass(frozen=True, slots=True)
class Priority:
    level: Level
    because: tuple[str, ...]


STRONGLY = -0.6  # a sentiment score below this

# Patterns over lower-case text without diacritics. English first, then Polish.
_THINGS = r"(?:data|drafts?|files?|photos?|documents?|notes?|history|work|orders?|messages?|projects?|settings)"
_RZECZY = (
    r"(?:dane|danych|plik\w*|zdjeci\w+|dokument\w*|notat\w+|histori\w+|zamowieni\w+|wiadomosci|projekt\w*|szkic\w*)"
)
DATA_LOSS = (
    rf"\b(?:lost|losing|loses|deleted|erased|wiped|corrupted|overw\w+) (?:\w+ ){{0,3}}{_THINGS}\b",
    rf"\b{_THINGS} (?:\w+ ){{0,3}}(?:lost|gone|deleted|disappeared|vanished|wiped|erased|missing|corrupted)\b",
    r"\bdata loss\b",
    rf"\b(?:stracil\w*|utracil\w*|zniknel\w*|zniknal|skasowal\w*|usunel\w*|przepadl\w*) (?:\w+ ){{0,3}}{_RZECZY}\b",
    rf"\b{_RZECZY} (?:\w+ ){{0,3}}(?:zniknel\w*|przepadl\w*|zginel\w*|skasowal\w*|utracon\w*)\b",
    r"\butrat\w+ danych\b",
)
SECURITY = (
    r"\bsecurity (?:\w+ )?(?:hole|issue|bug|breach|flaw|problem|leak|risk)\b",
    r"\bvulnerabilit\w+\b|\bhacked\b|\bdata breach\b|\bphishing\b|\bunauthori[sz]ed\b|\bstolen\b",
    r"\b(?:leak(?:s|ed|ing)?|expos(?:es|ed|ing)) (?:\w+ ){0,3}(?:data|passwords?|tokens?|keys?|e-?mails?)\b",
    r"\b(?:passwords?|tokens?|e-?mails?) (?:\w+ ){0,3}(?:leaked|exposed|visible|stolen)\b",
    r"\b(?:someone|somebody) else'?s?\b (?:\w+ ){0,2}(?:account|data|orders?|name|profile)\b",
    r"\bother (?:people|users?|customers?)'?s? (?:\w+ ){0,2}(?:account|data|orders?|names?|profiles?)\b",
    r"\bwyciek\w*\b|\bwlaman\w+\b|\bzhakowa\w+\b|\bluk\w+ bezpieczenstwa\b|\bskradzion\w+\b|\bwlamal\w*\b",
    r"\b(?:cudze|czyjes|innych|obce) (?:\w+ ){0,2}(?:dane|kont[oa]|zamowieni\w+|uzytkownik\w*|osob|klient\w*)\b",
    r"\bhasl\w+ (?:\w+ ){0,3}(?:widoczn\w+|wyciek\w*|jawn\w+)\b",
)
PAYMENT = (
    r"\b(?:charged|billed|paid|debited) (?:\w+ ){0,2}(?:twice|again|double|two times|three times)\b",
    r"\bdoubl[ey][- ]?(?:charged?|billed|payment)\b|\bovercharged\b|\brefund\w*\b",
    r"\bpay(?:ment|ments|ing)?\b|\bbilling\b|\bcharged\b|\bcredit cards?\b",
    r"\bmoney (?:\w+ )?(?:gone|taken|missing|lost|back)\b",
    r"\bplatnosc\w*\b|\bzaplac\w+\b|\bobciaz\w+\b|\bzwrot\w* pieniedzy\b",
    r"\bpobral\w* (?:\w+ ){0,3}(?:pieni\w+|dwa razy|dwukrotnie|podwojnie)\b",
    r"\bkart\w+ (?:kredytow\w+|platnicz\w+)\b|\bprzelew\w*\b",
)
BLOCKED = (
    r"\bcrash\w*\b|\bunusable\b|\bwon'?t (?:start|open|load)\b",
    r"\b(?:can'?t|cannot|unable to|can not) (?:log|sign) ?in\b",
    r"\bnie (?:moge|mozna|da sie) sie zalogowac\b|\bnie (?:uruchamia|otwiera|laduje) sie\b|\bwysypuje sie\b|\bwywala\b",
)
TOPICS = (("data loss", DATA_LOSS, False), ("security", SECURITY, False), ("payment", PAYMENT, True))
_COMPILED = {patterns: re.compile("|".join(patterns)) for patterns in (DATA_LOSS, SECURITY, PAYMENT, BLOCKED)}


def judge(text: str, *, kind: str, rating: int | None, sentiment: Sentiment) -> Priority:
    """The level, and the reasons in words. `kind` is what the writer chose."""
    plain = _fold(text)
    unhappy = sentiment.label is Label.NEGATIVE or (rating is not None and rating <= 2)
    content = not unhappy and (sentiment.label is Label.POSITIVE or (rating is not None and rating >= 4))
    wishing = kind in ("idea", "praise") or (kind == "question" and not unhappy)
    if not content and not wishing:
        urgent = tuple(
            f'{topic}: "{found.group()}"'
            for topic, patterns, only_unhappy in TOPICS
            if (unhappy or not only_unhappy) and (found := _COMPILED[patterns].search(plain))
        )
        if urgent:
            return Priority(Level.URGENT, urgent)
    high = []
    if rating == 1:
        high.append("one star")
    if sentiment.score <= STRONGLY and text:
        high.append("strongly negative")
    if unhappy and (found := _COMPILED[BLOCKED].search(plain)):
        high.append(f'cannot get on: "{found.group()}"')
    if high:
        return Priority(Level.HIGH, tuple(high))
    if content and kind not in ("bug", "question"):
        return Priority(Level.LOW, ("content",))
    return Priority(Level.NORMAL, ())


def _fold(text: str) -> str:
    decomposed = unicodedata.normalize("NFKD", text.lower().replace("ł", "l").replace("’", "'"))
    plain = "".join(character for character in decomposed if not unicodedata.combining(character))
    return re.sub(r"\s+", " ", plain)
