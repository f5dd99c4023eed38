"""Whether a text is English or Polish, by the small words that each cannot do without."""

import re
from typing import Final

ENGLISH: Final = """
    a about after all also am an and any are as at been being but by can could did do does don't each every for from
    get go got had i on no ten to
    has have he her his how i'm i've if in into is it it's its just me more most much my not now of only or other our
    out over she should since so some such than that the their them then there these they this those too up us very
    was we were what when where which while who why will with would you your the
"""
POLISH: Final = """
    ale albo az bardzo bez bo by byc byl byla bylo byly chyba ciagle cos czy dla dlaczego do dosc gdy gdzie go i im
    innych ja jak jako je jego jej jest jestem juz kazdy kiedy kto ktora ktore ktory ktorych lub ma mam maja mi mial
    mnie moge moj moze mozna mu na nad nam nas nie niz od oraz pan pani po pod poza prosze przed przez przy sa sie
    ta tak tam te tego tej ten tez tu tylko tym u w wam was we wszystko z za zawsze ze zeby
"""
DIACRITICS: Final = re.compile("[ąćęłńśźż]", re.IGNORECASE)  # ó is others' too
# Small words that both languages write, each in its own sense, prove nothing.
ONLY_ENGLISH: Final = frozenset(ENGLISH.split()) - frozenset(POLISH.split())
ONLY_POLISH: Final = frozenset(POLISH.split()) - frozenset(ENGLISH.split())


def guess(text: str, folded: list[str]) -> str:
    """`en`, `pl`, or empty. `folded` are the lower-case words without diacritics."""
    english = sum(word in ONLY_ENGLISH for word in folded)
    polish = sum(word in ONLY_POLISH for word in folded) + 2 * len(DIACRITICS.findall(text))
    if english == polish:
        return ""
    return "en" if english > polish else "pl"
