"""What texts feel like: cases in words, and the accuracy on texts that people have labelled."""

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feedback import sentiment
from feedback.sentiment import Label
from tests import suites

BAD, SO_SO, GOOD = Label.NEGATIVE, Label.NEUTRAL, Label.POSITIVE


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("The new dashboard is great, thank you!", GOOD),
        ("The new dashboard is not great.", BAD),
        ("It doesn't work on my phone.", BAD),
        ("No problems at all with the update.", GOOD),
        ("Checkout takes 40 seconds.", BAD),
        ("Search used to be terrible, but now it is excellent.", GOOD),
        ("Search used to be excellent, but now it is terrible.", BAD),
        ("It would be nice to have a dark theme.", SO_SO),
        ("The settings are in the menu on the left.", SO_SO),
        ("Can't wait for the next version!", GOOD),
        ("👎", BAD),
        ("I was charged twice", BAD),
        ("Nowa wersja jest świetna, dziękuję!", GOOD),
        ("Nowa wersja nie jest dobra.", BAD),
        ("Aplikacja nie działa po aktualizacji.", BAD),
        ("Wszystko działa bez zarzutu.", GOOD),
        ("Aplikacja sie zawiesza i muli, porazka", BAD),
        ("Jestem niezadowolony z obsługi.", BAD),
        ("Ustawienia są w menu po lewej.", SO_SO),
    ],
)
def test_it_reads_english_and_polish_without_being_told_which(text: str, label: Label) -> None:
    assert sentiment.judge(text).label == label


def test_louder_words_weigh_more_and_softer_words_less() -> None:
    softly, plainly, loudly = (
        sentiment.judge(text).score for text in ("It is a bit slow.", "It is slow.", "It is extremely slow.")
    )
    assert loudly < plainly < softly < 0


def test_the_words_that_decided_are_named_with_their_negation() -> None:
    assert sentiment.judge("This is not good, and awfully slow").because == ("slow", "not good")
    assert sentiment.judge("To nie jest dobre").because == ("nie dobre",)


@pytest.mark.parametrize("language", ["en", "en-GB", "EN_us"])
def test_the_writers_own_word_on_the_language_is_taken(language: str) -> None:
    assert sentiment.judge("fatal", language).engine == "lexicon-1"
    assert sentiment.judge("great", language).label == GOOD


def test_it_does_not_guess_in_a_language_that_it_does_not_know() -> None:
    told = sentiment.judge("Das ist wirklich gut geworden", "de")
    assert (told.label, told.confidence) == (None, 0.0)
    assert sentiment.judge("Ich habe die Einstellungen gefunden").label is None


def test_emoji_speak_every_language() -> None:
    told = sentiment.judge("Endlich 😍", "de")
    assert told.label == GOOD
    assert told.confidence <= 0.5, "only a picture was understood"


def test_mixed_feelings_are_less_certain_than_plain_ones() -> None:
    plain = sentiment.judge("The export is broken and slow and awful.")
    mixed = sentiment.judge("The export is great and fast, the import broken and slow and awful.")
    assert plain.label == mixed.label == BAD
    assert mixed.confidence < plain.confidence


@pytest.mark.parametrize(
    ("rating", "label"), [(1, BAD), (2, BAD), (3, SO_SO), (4, GOOD), (5, GOOD)]
)  # fmt: skip
def test_without_a_text_the_stars_speak(rating: int, label: Label) -> None:
    told = sentiment.of_rating(rating)
    assert (told.label, told.engine) == (label, "rating-1")


@settings(deadline=None)
@given(st.text(max_size=300), st.text(max_size=10))
def test_every_text_has_an_answer_within_its_bounds(text: str, language: str) -> None:
    told = sentiment.judge(text, language)
    assert -1 <= told.score <= 1
    assert 0 <= told.confidence <= 1
    assert told.label in (None, *Label)


@pytest.mark.parametrize("piece", ["nie", "nie ", "takes 5 ", "no longer ", "a", "(", "ż", ":-", "dziala wolno "])
def test_a_text_made_to_be_slow_is_not(piece: str) -> None:
    began = time.process_time()
    sentiment.judge((piece * 10_000)[:10_000])
    assert time.process_time() - began < 1, "ten thousand characters of anything take milliseconds"


@dataclass(frozen=True)
class Suite:
    file: str
    language: str
    floor: float  # of macro-F1; well below what was measured, well above chance


@pytest.mark.parametrize(
    "suite",
    [
        Suite("own_release_feedback_smoke.tsv", "en", 0.75),
        Suite("own_release_feedback_smoke.tsv", "pl", 0.75),
        Suite("en_stackoverflow.tsv", "en", 0.70),
        Suite("en_amazon_vadergt.tsv", "en", 0.54),
        Suite("en_tweets_xlmt.tsv", "en", 0.50),
        Suite("pl_hotels_wccrs.tsv", "pl", 0.55),
        Suite("pl_medicine_wccrs.tsv", "pl", 0.54),
    ],
    ids=lambda suite: f"{suite.file.removesuffix('.tsv')}-{suite.language}",
)
def test_it_is_far_better_than_always_saying_the_same(suite: Suite) -> None:
    pairs = []
    began = time.process_time()
    for line in suites.file(f"sentiment/{suite.file}").read_text(encoding="utf-8").splitlines()[1:]:
        text, label, language = line.split("\t")
        if language == suite.language:
            pairs.append((label, sentiment.judge(text, language).label))
    rate = len(pairs) / (time.process_time() - began)
    accuracy = sum(true == told for true, told in pairs) / len(pairs)
    most = Counter(true for true, _ in pairs).most_common(1)[0][0]
    macro, blind = macro_f1(pairs), macro_f1([(true, most) for true, _ in pairs])
    print(
        f"\n{suite.file} ({suite.language}, {len(pairs)} texts): accuracy {accuracy:.3f}, macro-F1 {macro:.3f}, "
        f"always {most!r} {blind:.3f}; {rate:,.0f} texts a CPU second"
    )
    assert macro > suite.floor > 2 * blind


def macro_f1(pairs: Sequence[tuple[str, str | None]]) -> float:
    """The mean F1 of the three classes: a class that is never found costs a third."""
    scores = []
    for label in Label:
        hit = sum(true == told == label for true, told in pairs)
        wrong = sum((true == label) != (told == label) for true, told in pairs)
        scores.append(2 * hit / (2 * hit + wrong) if hit else 0.0)
    return sum(scores) / len(scores)
