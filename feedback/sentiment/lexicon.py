"""The engine `lexicon-1`: word lists of English and Polish, negation, emphasis, turns of phrase, emoji.

It reads words, not meaning: irony, comparisons and what is only implied escape it. It is here to be honest and fast,
and to be replaced behind the same interface.
"""

import math
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from types import ModuleType

from feedback.sentiment import english, language, polish
from feedback.sentiment.emoji import EMOJI, EMOTICONS
from feedback.sentiment.types import Label, Sentiment

NAME = "lexicon-1"

TOKEN = re.compile(r"[^\W\d_]+(?:'[^\W\d_]+)*|\d+|[.,;:!?()\n]")
BREAKS = frozenset(".,;:!?()\n")
SHORTEST_STEM = 3
NEGATION_REACHES = 3  # words
NEGATED = -0.74  # "not great" is less bad than "bad"
LOUD, SOFT, WISHED = 1.3, 0.7, 0.2
SHOUTED = 1.2  # WORDS IN CAPITALS among others that are not
BEFORE_BUT, AFTER_BUT = 0.6, 1.4
FLATNESS = 15.0  # how much feeling it takes to come near the ends of the scale
NEUTRAL_WITHIN = 0.2
MAX_TEXT = 20_000  # characters that are read
FEW_WORDS = 3
LONGEST_WORD = 40  # characters; what is longer is no word, and would cost time and memory


@dataclass(frozen=True, slots=True)
class Lexicon:
    """One language, or several at once."""

    exact: dict[str, float]
    stems: dict[str, float]
    negations: frozenset[str]
    louder: frozenset[str]
    softer: frozenset[str]
    wishes: frozenset[str]
    but: frozenset[str]
    phrases: tuple[tuple[re.Pattern[str], float], ...]
    prefix: str  # that negates the word it is written on to

    @classmethod
    def of(cls, *languages: ModuleType) -> "Lexicon":
        exact: dict[str, float] = {}
        stems: dict[str, float] = {}
        for one in languages:
            for value, words in one.WORDS.items():
                for word in words.split():
                    (stems if word.endswith("*") else exact)[word.rstrip("*")] = value
        phrases = [(re.compile(rf"\b(?:{pattern})\b"), value) for one in languages for pattern, value in one.PHRASES]
        return cls(
            exact,
            stems,
            negations=frozenset(" ".join(one.NEGATIONS for one in languages).split()),
            louder=frozenset(" ".join(one.LOUDER for one in languages).split()),
            softer=frozenset(" ".join(one.SOFTER for one in languages).split()),
            wishes=frozenset(" ".join(one.WISHES for one in languages).split()),
            but=frozenset(" ".join(one.BUT for one in languages).split()),
            phrases=tuple(phrases),
            prefix="nie" if polish in languages else "",
        )

    def value(self, word: str) -> float:
        """How the word feels; 0 when it is not in the lists."""
        if word in self.exact:
            return self.exact[word]
        if word in self.louder:
            return 0.0  # "awfully fast"
        for end in range(len(word), SHORTEST_STEM - 1, -1):
            if word[:end] in self.stems:
                return self.stems[word[:end]]
        if self.prefix and word.startswith(self.prefix) and len(word) > len(self.prefix) + SHORTEST_STEM:
            return NEGATED * self.value(word[len(self.prefix) :])
        return 0.0


@lru_cache(maxsize=4)
def _lexicon(code: str) -> Lexicon:
    languages = {"en": (english,), "pl": (polish,)}
    return Lexicon.of(*languages.get(code, (english, polish)))


@dataclass(frozen=True, slots=True)
class Hit:
    words: str
    value: float


def judge(text: str, said_language: str = "") -> Sentiment:
    """The sentiment of a text in English or Polish; in other languages only emoji are understood."""
    text = text[:MAX_TEXT].replace("’", "'")
    tokens = [match.group() for match in TOKEN.finditer(text)]
    folded = [_fold(token) for token in tokens]
    said = re.split("[-_]", said_language.strip().lower())[0]
    known = said in ("", "en", "pl")
    spoken = (said or language.guess(text, folded)) if known else ""
    hits = list(_pictures(text))
    if known:
        lexicon = _lexicon(spoken)
        hits += [*_words(tokens, folded, lexicon), *_phrases(folded, lexicon)]
    few = sum(token[0].isalpha() for token in tokens) <= FEW_WORDS
    if not hits and not spoken and not (known and few):
        return Sentiment(None, 0.0, 0.0, NAME)
    return _weigh(hits, text, sure_of_language=bool(spoken))


def _words(tokens: list[str], folded: list[str], lexicon: Lexicon) -> list[Hit]:
    """Every word that feels like something, with what stands before it taken into account."""
    shouting = any(token.islower() for token in tokens)
    hits: list[Hit] = []
    negation, negated, wished = "", -NEGATION_REACHES, -NEGATION_REACHES
    emphasis = weight = 1.0
    for place, (token, word) in enumerate(zip(tokens, folded, strict=True), start=1):
        if word in BREAKS:
            negated = wished = -NEGATION_REACHES
            emphasis = 1.0
            continue
        value = lexicon.value(word) * emphasis * weight
        if value:
            if shouting and len(token) > 2 and token.isupper():
                value *= SHOUTED
            if place - negated <= NEGATION_REACHES:
                value, word_as_said = value * NEGATED, f"{negation} {word}"
            else:
                word_as_said = word
            if place - wished <= NEGATION_REACHES and value > 0:
                value *= WISHED
            hits.append(Hit(word_as_said, value))
        if word in lexicon.negations:
            negation, negated = word, place
        if word in lexicon.wishes:
            wished = place
        if word in lexicon.but:
            negated = -NEGATION_REACHES
            hits = [Hit(hit.words, hit.value * BEFORE_BUT) for hit in hits] if weight == 1.0 else hits
            weight = AFTER_BUT
        emphasis = LOUD if word in lexicon.louder else SOFT if word in lexicon.softer else 1.0
    return hits


def _phrases(folded: list[str], lexicon: Lexicon) -> Iterator[Hit]:
    joined = " ".join(word for word in folded if word not in BREAKS)
    for pattern, value in lexicon.phrases:
        for match in pattern.finditer(joined):
            yield Hit(match.group(), value)


def _pictures(text: str) -> Iterator[Hit]:
    for character in text:
        if character in EMOJI:
            yield Hit(character, EMOJI[character])
    for pattern, value in EMOTICONS:
        for match in pattern.finditer(text):
            yield Hit(match.group(), value)


def _weigh(hits: list[Hit], text: str, *, sure_of_language: bool) -> Sentiment:
    for_ = sum(hit.value for hit in hits if hit.value > 0)
    against = -sum(hit.value for hit in hits if hit.value < 0)
    total = for_ - against
    if total and "!" in text:
        total += math.copysign(min(text.count("!"), 3) * 0.3, total)
    score = total / math.sqrt(total * total + FLATNESS)
    label = Label.NEUTRAL if abs(score) < NEUTRAL_WITHIN else Label.POSITIVE if score > 0 else Label.NEGATIVE
    strongest = sorted(hits, key=lambda hit: -abs(hit.value))[:5]
    confidence = _confidence(label, score, for_, against)
    if not sure_of_language:
        confidence = min(confidence, 0.5)
    return Sentiment(label, round(score, 3), round(confidence, 2), NAME, tuple(hit.words for hit in strongest))


def _confidence(label: Label, score: float, for_: float, against: float) -> float:
    if label is Label.NEUTRAL:
        return 0.3 if for_ or against else 0.45
    mixed = min(for_, against) / max(for_, against)
    return 0.45 + 0.45 * abs(score) - 0.15 * mixed


def _fold(word: str) -> str:
    return _plain(word) if len(word) <= LONGEST_WORD else ""


@lru_cache(maxsize=20_000)
def _plain(word: str) -> str:
    """Lower case, without diacritics: half of all Polish feedback is typed without them."""
    plain = unicodedata.normalize("NFKD", word.lower().replace("ł", "l"))
    return "".join(character for character in plain if not unicodedata.combining(character))
