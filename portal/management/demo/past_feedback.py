"""What customers said in the month: in two languages, judged by the portal's own engine, angrier on bad days."""

import random
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from django.conf import settings

from feedback import priority, sentiment
from feedback.actions import satisfaction
from feedback.models import Entry
from portal.demo import people, phrases, scene
from portal.management.demo.past_places import World
from portal.management.demo.story import Ending, Run, build_of, serving_now

HOW_MANY = 260
MOODS = {"content": 62, "wish": 20, "unsure": 10, "slow": 4, "broken": 4}
STARS = {"content": (5, 5, 4), "wish": (4, 4, 3), "unsure": (3, 4), "slow": (2, 3), "broken": (1, 2, 2)}
KINDS = {"content": "praise", "wish": "idea", "unsure": "question", "slow": "other", "broken": "bug"}
COMPLAINTS = 11  # about each release that went wrong


def write(world: World, story: Sequence[Run]) -> int:
    """Entries in the order of their time; the ratings of the last two days are counted into the metric, too."""
    dice = random.Random(50)
    customers = people.population()
    made = [
        _entry(world, story, at, mood, dice.choice(customers), dice, bad)
        for at, mood, bad in sorted(_moments(world, story, dice), key=lambda one: one[0])
    ]
    Entry.objects.bulk_create(made, batch_size=200)
    kept = world.now - timedelta(hours=settings.PORTAL_RAW_RETENTION_HOURS) + timedelta(minutes=10)
    for entry in made:
        if entry.created_at > kept and entry.rating is not None:
            satisfaction.count(entry)
    return len(made)


def _moments(world: World, story: Sequence[Run], dice: random.Random) -> Iterator[tuple[datetime, str, Run | None]]:
    for place in range(HOW_MANY):
        # A little denser towards today.
        back = timedelta(days=30 * (1 - place / HOW_MANY) ** 1.15, minutes=dice.uniform(4, 300))
        yield world.now - back, dice.choices(list(MOODS), list(MOODS.values()))[0], None
    for run in story:
        if run.ending == Ending.ROLLED_BACK and run.service == scene.SERVICE and run.fault:
            for _ in range(COMPLAINTS):
                yield run.ended_at - dice.uniform(0, 1) * run.fault.seen, "broken", run


def _entry(
    world: World,
    story: Sequence[Run],
    at: datetime,
    mood: str,
    who: people.Customer,
    dice: random.Random,
    bad: Run | None,
) -> Entry:
    before = [
        run
        for run in story
        if (run.service, run.environment) == (scene.SERVICE, scene.ENVIRONMENT) and run.ended_at <= at
    ]
    build = bad.build if bad else serving_now(before, scene.SERVICE, scene.ENVIRONMENT)
    succeeded = [run for run in before if run.ending == Ending.SUCCEEDED]
    release = bad.version if bad else succeeded[-1].version if succeeded else ""
    text = dice.choice(phrases.PHRASES[mood][who.language])
    rating = dice.choice(STARS[mood])
    kind = KINDS[mood]
    felt = sentiment.judge(text, who.language)
    rank = priority.judge(text, kind=kind, rating=rating, sentiment=felt)
    labels = {"flag": build_of(scene.SERVICE), "variant": build} | ({"release": release} if release else {})
    return Entry(
        service=world.services[scene.SERVICE],
        environment=world.environments[scene.ENVIRONMENT],
        kind=kind,
        rating=rating,
        text=text,
        unit=who.key,
        language=who.language,
        page=dice.choice(phrases.PAGES),
        labels=labels,
        release=release,
        flag=labels["flag"],
        variant=build,
        sentiment=felt.label,
        score=felt.score,
        confidence=felt.confidence,
        engine=felt.engine,
        words=list(felt.because),
        priority=rank.level,
        priority_because="; ".join(rank.because),
        created_at=at,
    )
