"""Weight edits: what share of 100 000 users moves, beside the least that must, by the engine itself."""

from dataclasses import dataclass
from typing import Any

from rollouts.engine.compile import assemble, compile_flag
from rollouts.engine.evaluate import evaluate_all
from rollouts.engine.types import FlagSource

USERS = 100_000
SALT = "5f0c2d7e9a4b4f1c8e6d3b2a19087f6e"
Weights = dict[str, int]


@dataclass(frozen=True, slots=True)
class Edit:
    name: str
    before: Weights
    after: Weights


EDITS = (
    Edit("33/33/34 → 50/25/25", {"a": 33, "b": 33, "c": 34}, {"a": 50, "b": 25, "c": 25}),
    Edit("add a fourth variant with 10 %", {"a": 300, "b": 300, "c": 300}, {"a": 300, "b": 300, "c": 300, "d": 100}),
    Edit("1/1/1 → 1/1/2", {"a": 1, "b": 1, "c": 1}, {"a": 1, "b": 1, "c": 2}),
    Edit("the rows in another order: c, a, b", {"a": 33, "b": 33, "c": 34}, {"c": 34, "a": 33, "b": 33}),
    Edit("every weight doubled", {"a": 20, "b": 30, "c": 50}, {"a": 40, "b": 60, "c": 100}),
    Edit("take a variant away", {"a": 40, "b": 30, "c": 30}, {"a": 40, "c": 30}),
)


def run(users: int = USERS) -> dict[str, Any]:
    return {
        edit.name: {"minimum_percent": round(least(edit) * 100, 2), "moved_percent": round(moved(edit, users) * 100, 2)}
        for edit in EDITS
    }


def least(edit: Edit) -> float:
    """The sum of what the shrinking variants lose: nobody else needs to go anywhere."""
    before, after = sum(edit.before.values()), sum(edit.after.values())
    return sum(max(0.0, weight / before - edit.after.get(key, 0) / after) for key, weight in edit.before.items())


def moved(edit: Edit, users: int) -> float:
    was, now = (_dealt(weights, users) for weights in (edit.before, edit.after))
    return sum(one != other for one, other in zip(was, now, strict=True)) / users


def _dealt(weights: Weights, users: int) -> list[str | None]:
    """The variant of each user, the variants in the order of the weights."""
    source = FlagSource(
        "flag",
        SALT,
        "string",
        [{"key": key, "value": key} for key in weights],
        next(iter(weights)),
        enabled=True,
        fallthrough={"split": weights},
        revision=1,
    )
    shot = assemble("production", 1, {"flag": compile_flag(source, {})})
    return [next(evaluate_all(shot, {"targetingKey": f"user-{n}"}, now=0.0)).variant for n in range(users)]


def main() -> None:
    found = run()
    print(f"| edit ({USERS:,} users) | must move | moved |\n|---|---|---|".replace(",", " "))
    for name, figures in found.items():
        print(f"| {name} | {figures['minimum_percent']} % | {figures['moved_percent']} % |")


if __name__ == "__main__":
    main()
