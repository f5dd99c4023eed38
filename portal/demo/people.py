"""The customers: four hundred made-up people who stay who they are."""

import random
from dataclasses import dataclass

HOW_MANY = 400
COUNTRIES = {"PL": 40, "GB": 25, "DE": 20, "IE": 8, "CZ": 7}
TIERS = {"free": 55, "silver": 28, "gold": 13, "platinum": 4}
DEVICES = {"web": 50, "android": 30, "ios": 20}


@dataclass(frozen=True, slots=True)
class Customer:
    key: str
    country: str
    tier: str
    device: str

    @property
    def language(self) -> str:
        return "pl" if self.country == "PL" else "en"

    @property
    def attributes(self) -> dict[str, str]:
        """What a flag's rules may ask."""
        return {"country": self.country, "tier": self.tier, "device": self.device, "language": self.language}


def population() -> list[Customer]:
    """The same people at every start."""
    dice = random.Random(400)
    return [
        Customer(f"customer-{number:03}", _one(COUNTRIES, dice), _one(TIERS, dice), _one(DEVICES, dice))
        for number in range(1, HOW_MANY + 1)
    ]


def _one(weights: dict[str, int], dice: random.Random) -> str:
    return dice.choices(list(weights), list(weights.values()))[0]
