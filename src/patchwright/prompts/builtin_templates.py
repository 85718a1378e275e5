"""Built-in templates: the tasks of the example library, with words to draw from.

Which of the words are used depends on the model at hand: those of the right number of
its tokens. All but `docstring` and `few-shot` are sentences as the demo model was trained on.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from patchwright.errors import InputError
from patchwright.prompts.templates import Template, Word


@dataclass(frozen=True)
class Task:
    """A template with its name, and what it asks of a model."""

    name: str
    title: str
    template: Template


_WOMEN = (
    "Mary Alice Anna Emma Clara Julia Laura Sarah Emily Jane Kate Lucy Rose Amy Ruth Helen "
    "Nina Olivia Grace Diana Susan Linda Eva Martha"
).split()
_MEN = (
    "John James Tom David Paul Peter Mark George Henry Jack Simon Martin Daniel Adam Robert "
    "Frank Oliver Victor Sam Leo Max Dan Sid Walter"
).split()
NAMES = tuple(sorted([*_WOMEN, *_MEN]))
PLACES = tuple(
    "store park school house garden station office market beach library museum theater church "
    "hospital farm river harbor village restaurant".split()
)
_THINGS = tuple(
    "ball cup box car door chair table lamp shirt bike boat house flag wall bowl".split()
)
OBJECTS = tuple("drink book letter gift flower coin pen hat cup".split())
_IDENTIFIERS = (
    *_THINGS,
    *(
        "file data name size value index result text line user key path node item model version "
        "string field start number context image message event state group client date host page "
        "option label code source order count match title"
    ).split(),
)
_COLORS = tuple("red blue green black white yellow brown pink gray purple".split())
_CAPITALS = tuple(
    tuple(pair.split("-"))
    for pair in (
        "France-Paris Italy-Rome England-London Germany-Berlin Spain-Madrid Greece-Athens "
        "Russia-Moscow China-Beijing Japan-Tokyo Austria-Vienna Portugal-Lisbon "
        "Hungary-Budapest Sweden-Stockholm Norway-Oslo Denmark-Copenhagen Belgium-Brussels "
        "Poland-Warsaw Finland-Helsinki Ireland-Dublin Egypt-Cairo Kenya-Nairobi Peru-Lima "
        "Cuba-Havana Canada-Ottawa Chile-Santiago Turkey-Ankara Iran-Tehran Iraq-Baghdad "
        "Korea-Seoul Thailand-Bangkok Vietnam-Hanoi Bulgaria-Sofia Romania-Bucharest"
    ).split()
)
_LANDMARKS = tuple(
    tuple(pair.split("-"))
    for pair in (
        "Eiffel Tower-Paris,Louvre Museum-Paris,Trevi Fountain-Rome,Big Ben-London,Tower "
        "Bridge-London,Buckingham Palace-London,Brandenburg Gate-Berlin,Sagrada "
        "Familia-Barcelona,Prado Museum-Madrid,Red Square-Moscow,Opera House-Sydney,Blue "
        "Mosque-Istanbul,Forbidden City-Beijing,Skytree Tower-Tokyo,Charles Bridge-Prague,Space "
        "Needle-Seattle,Belem Tower-Lisbon,Rialto Bridge-Venice,Uffizi Gallery-Florence,Hofburg "
        "Palace-Vienna,White House-Washington,Willis Tower-Chicago,Chain Bridge-Budapest,Vasa "
        "Museum-Stockholm,Munch Museum-Oslo,Pearl Tower-Shanghai"
    ).split(",")
)
_CITIES = tuple(sorted({city for _, city in (*_CAPITALS, *_LANDMARKS)}))
_NOUNS = (
    "key-keys book-books picture-pictures letter-letters road-roads song-songs friend-friends "
    "teacher-teachers child-children dog-dogs window-windows story-stories player-players"
).split()
_BETWEEN = (
    "cabinet cabinets house houses table tables garden gardens river rivers king kings city "
    "cities tree trees doctor doctors town towns school schools"
)


def _nouns() -> tuple[Word, ...]:
    """A noun, the same in the other number, its verbs, and the other number's."""
    verbs = ((" is", " was", " has", " does"), (" are", " were", " have", " do"))
    rows: list[Word] = []
    for one, many in (pair.split("-") for pair in _NOUNS):
        rows += [(one, many, verbs[0], verbs[1]), (many, one, verbs[1], verbs[0])]
    return tuple(rows)


def _years() -> tuple[Word, ...]:
    """A year of the century, the later ones, and those up to it."""
    two = [f"{year:02d}" for year in range(2, 100)]
    return tuple(
        (year, tuple(two[i + 1 :]), tuple(two[: i + 1])) for i, year in enumerate(two[10:-1], 10)
    )


def _task(name: str, title: str, changes: str, /, **template: object) -> Task:
    slot, _, to = changes.partition("=")
    return Task(name, title, Template.model_validate({**template, "corrupt": {slot: to}}))


@cache
def tasks() -> tuple[Task, ...]:
    """All built-in templates."""
    words: Mapping[str, tuple[Word, ...]] = {
        f"W{i}": (*NAMES, *_COLORS, *PLACES) for i in range(1, 7)
    }
    return (
        _task(
            "indirect-object",
            "Who is given it? The name that is not the giver's.",
            "S={A}",
            text=(
                "When {A} and {B} went to the {PLACE}, {S} gave a {OBJECT} to",
                "When {B} and {A} went to the {PLACE}, {S} gave a {OBJECT} to",
            ),
            slots={
                "A": NAMES,
                "B": NAMES,
                "S": "{B}",
                "PLACE": PLACES,
                "OBJECT": OBJECTS,
            },
            answer=" {A}",
            wrong=" {B}",
        ),
        _task(
            "capital",
            "The capital of a country.",
            "COUNTRY={OTHER}",
            text="The capital of {COUNTRY} is",
            slots={"COUNTRY": _CAPITALS, "OTHER": _CAPITALS},
            answer=" {COUNTRY.1}",
            wrong=" {OTHER.1}",
        ),
        _task(
            "landmark",
            "The city of a landmark; names of two tokens.",
            "LANDMARK={OTHER}",
            text="The {LANDMARK} is in",
            slots={"LANDMARK": _LANDMARKS, "OTHER": _LANDMARKS},
            tokens={"LANDMARK": 2},
            answer=" {LANDMARK.1}",
            wrong=" {OTHER.1}",
        ),
        _task(
            "agreement",
            "A verb that agrees with its subject; any verb of the right number is an answer.",
            "subject={subject.1}",
            text="The {subject} {PREPOSITION} the {BETWEEN}",
            slots={
                "subject": _nouns(),
                "PREPOSITION": "to near behind of beside from".split(),
                "BETWEEN": _BETWEEN.split(),
            },
            answer="{subject.2}",
            wrong="{subject.3}",
        ),
        _task(
            "greater-than",
            "A year that comes later; measure prob_diff.",
            "START=02",
            text="The {SPAN} lasted from the year {CENTURY}{START} to the year {CENTURY}",
            slots={
                "SPAN": "war trip project battle strike festival journey siege mission".split(),
                "CENTURY": "11 12 13 14 15 16 17 18 19".split(),
                "START": _years(),
            },
            answer="{START.1}",
            wrong="{START.2}",
        ),
        _task(
            "induction",
            "What followed the last time?",
            "X={Y}",
            text=" {W1} {W2} {W3} {X} {W4} {W5} {W6} {W1} {W2} {W3}",
            slots={**words, "X": _THINGS, "Y": _THINGS},
            answer=" {X}",
            wrong=" {Y}",
        ),
        _task(
            "pronoun",
            "She or he, by the name.",
            "NAME={OTHER}",
            text=(
                "{NAME} went to the {PLACE} because",
                "{NAME} stayed at the {PLACE} because",
            ),
            slots={
                "NAME": gendered_names(),
                "OTHER": gendered_names(),
                "PLACE": PLACES,
            },
            answer="{NAME.1}",
            wrong="{OTHER.1}",
        ),
        _task(
            "attribute",
            "The colour of the thing that is asked for.",
            "ASKED={THING2}",
            text="The {THING} is {COLOR}. The {THING2} is {COLOR2}. The {ASKED} is",
            slots={
                "THING": _THINGS,
                "THING2": _THINGS,
                "ASKED": "{THING}",
                "COLOR": _COLORS,
                "COLOR2": _COLORS,
            },
            answer=" {COLOR}",
            wrong=" {COLOR2}",
        ),
        _task(
            "claim",
            "What somebody thinks who has said something else than what is true.",
            "CITY={OTHER}",
            text="{NAME} says the {LANDMARK} is in {CITY}. {NAME} thinks the {LANDMARK} is in",
            slots={
                "NAME": NAMES,
                "LANDMARK": _LANDMARKS,
                "CITY": _CITIES,
                "OTHER": _CITIES,
            },
            tokens={"LANDMARK": 2},
            answer=" {CITY}",
            wrong=" {OTHER}",
        ),
        _task(
            "docstring",
            "The next parameter in a function's docstring; the demo model knows no code.",
            "C={X}",
            text=(
                'def {NAME}(self, {A}, {B}, {C}):\n    """The box.\n\n    :param {A}: {W1}\n'
                "    :param {B}: {W2}\n    :param"
            ),
            slots={
                **dict.fromkeys(("NAME", "A", "B", "C", "X"), _IDENTIFIERS),
                **dict.fromkeys(("W1", "W2"), (*PLACES, *_THINGS)),
            },
            answer=" {C}",
            wrong=" {X}",
        ),
        _task(
            "few-shot",
            "A relation that only the examples show: a country's capital.",
            "COUNTRY={OTHER}",
            text="Q: {C1}\nA: {C1.1}\n\nQ: {C2}\nA: {C2.1}\n\nQ: {COUNTRY}\nA:",
            slots=dict.fromkeys(("C1", "C2", "COUNTRY", "OTHER"), _CAPITALS),
            answer=" {COUNTRY.1}",
            wrong=" {OTHER.1}",
        ),
    )


def gendered_names() -> tuple[Word, ...]:
    """Names, each with its pronoun."""
    return (*((name, " she") for name in _WOMEN), *((name, " he") for name in _MEN))


def word_kinds() -> tuple[tuple[Word, ...], ...]:
    """Words of one kind each: any may stand where another does, with what it brings along."""
    return (
        gendered_names(),
        PLACES,
        OBJECTS,
        _THINGS,
        _COLORS,
        _CAPITALS,
        _LANDMARKS,
        _CITIES,
        _nouns(),
    )


def task(name: str) -> Task:
    """The built-in template called `name`. Raises InputError with the names there are."""
    for one in tasks():
        if one.name == name:
            return one
    known = ", ".join(one.name for one in tasks())
    raise InputError(f"'{name}' is not a built-in template. They are: {known}.")
