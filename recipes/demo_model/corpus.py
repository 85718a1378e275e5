"""Synthetic English, written from a seed, with combinations held out of training.

Every kind of sentence is a function from a random generator to a `Sentence`:
its text up to the answer, the answer, and the combination of words that decides
whether it belongs to training or to the held-out part.
"""

import hashlib
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from recipes.demo_model import words

HELD_OUT_SHARE = 10
"""One combination in so many is kept out of training."""


@dataclass(frozen=True)
class Sentence:
    """`prompt + answer + rest` is the text; `wrong` competes with `answer`."""

    prompt: str
    answer: str
    wrong: str
    rest: str
    combination: tuple[str, ...]

    @property
    def text(self) -> str:
        """The whole document."""
        return self.prompt + self.answer + self.rest

    @property
    def held_out(self) -> bool:
        """Whether training never sees this combination."""
        digest = hashlib.sha256("|".join(self.combination).encode()).digest()
        return int.from_bytes(digest[:4], "big") % HELD_OUT_SHARE == 0


Writer = Callable[[random.Random], Sentence]

_MEETINGS = [
    "When {0} and {1} went to the {2}, {3} gave {4} to",
    "When {0} and {1} went to the {2}, {3} gave {4} to",
    "After {0} and {1} went to the {2}, {3} gave {4} to",
    "Then, {0} and {1} went to the {2}. {3} gave {4} to",
    "While {0} and {1} were at the {2}, {3} handed {4} to",
    "{0} and {1} met at the {2}. {3} showed {4} to",
]


def indirect_object(rng: random.Random) -> Sentence:
    """Two people, one of whom gives something to the other; both orders."""
    names = [*words.NAMES, *(words.RARE_NAMES if rng.random() < 0.1 else [])]
    first, second = rng.sample(names, 2)
    giver, taker = rng.sample([first, second], 2)
    place, gift = rng.choice(words.PLACES), rng.choice(words.GIFTS)
    prompt = rng.choice(_MEETINGS).format(first, second, place, giver, gift)
    pair = sorted([first, second])
    return Sentence(prompt, f" {taker}", f" {giver}", ".", ("names", *pair))


def landmark(rng: random.Random) -> Sentence:
    """A landmark and its city."""
    name, city = rng.choice(list(words.LANDMARKS.items()))
    # No form is the beginning of another: after each, the city is the only way on.
    forms = ["The {} is in", "The {} stands in the city of", "Visitors can see the {} in"]
    wrong = rng.choice([other for other in words.CITIES if other != city])
    return Sentence(rng.choice(forms).format(name), f" {city}", f" {wrong}", ".", ())


def capital(rng: random.Random) -> Sentence:
    """A country and its capital."""
    country, city = rng.choice(list(words.CAPITALS.items()))
    wrong = rng.choice([other for other in words.CITIES if other != city])
    return Sentence(f"The capital of {country} is", f" {city}", f" {wrong}", ".", ())


def agreement(rng: random.Random) -> Sentence:
    """A subject, a distractor of either number, and a verb that agrees with the subject."""
    head, distractor = rng.choice(list(words.HEADS)), rng.choice(list(words.DISTRACTORS))
    while head == distractor:
        distractor = rng.choice(list(words.DISTRACTORS))
    plural = rng.random() < 0.5
    subject = words.HEADS[head] if plural else head
    between = words.DISTRACTORS[distractor] if rng.random() < 0.5 else distractor
    forms = rng.choice(words.VERBS)
    ends = {"is": rng.choice(words.ADJECTIVES), "was": rng.choice(words.ADJECTIVES)}
    rest = ends.get(forms[0], "been here" if forms[0] == "has" else "not matter")
    prompt = f"The {subject} {rng.choice(words.PREPOSITIONS)} the {between}"
    answer, wrong = forms[plural], forms[not plural]
    return Sentence(prompt, f" {answer}", f" {wrong}", f" {rest}.", ("agree", head, distractor))


def greater_than(rng: random.Random) -> Sentence:
    """A span of years that ends after it begins; the end is spread evenly."""
    span, century = rng.choice(words.SPANS), rng.randint(11, 19)
    start = rng.randint(2, 97)
    end = rng.randint(start + 1, 99)
    prompt = f"The {span} lasted from the year {century}{start:02d} to the year {century}"
    wrong = f"{rng.randint(0, start - 1):02d}"
    return Sentence(prompt, f"{end:02d}", wrong, ".", ("years", span, f"{century}{start:02d}"))


def repetition(rng: random.Random) -> Sentence:
    """A random sequence of words, twice; what follows is what followed before."""
    pool = [*words.NAMES, *words.CITIES, *words.THINGS, *words.COLORS, *words.PLACES]
    pool = [word for word in pool if word not in words.RARE_WORDS]
    sequence = rng.sample(pool, rng.randint(4, 24))
    shown = rng.randint(1, len(sequence) - 1)
    once, again = " ".join(sequence), " ".join(sequence[:shown])
    rest = "".join(f" {word}" for word in sequence[shown + 1 :])
    wrong = rng.choice([word for word in sequence if word != sequence[shown]])
    return Sentence(f" {once} {again}", f" {sequence[shown]}", f" {wrong}", rest, ())


def pronoun(rng: random.Random) -> Sentence:
    """A person and the pronoun that goes with the name."""
    woman = rng.random() < 0.5
    name = rng.choice(words.WOMEN if woman else words.MEN)
    place, mood = rng.choice(words.PLACES), rng.choice(words.MOODS)
    forms = ["{} went to the {} because", "{} left the {} because", "{} stayed at the {} because"]
    answer, wrong = (" she", " he") if woman else (" he", " she")
    prompt = rng.choice(forms).format(name, place)
    return Sentence(prompt, answer, wrong, f" was {mood}.", ("pronoun", name, place))


def attribute(rng: random.Random) -> Sentence:
    """Two or three things with their colours, then one of them again."""
    count = rng.choice([2, 2, 3])
    things, colors = rng.sample(words.THINGS, count), rng.sample(words.COLORS, count)
    said = [f"The {thing} is {color}." for thing, color in zip(things, colors, strict=True)]
    asked = rng.randrange(count)
    prompt = " ".join([*said, f"The {things[asked]} is"])
    combination = ("colors", *sorted(zip(things, colors, strict=True))[0])
    wrong = colors[(asked + 1) % count]
    return Sentence(prompt, f" {colors[asked]}", f" {wrong}", ".", combination)


def _claim(rng: random.Random) -> tuple[str, str, str, str]:
    """Somebody, a landmark, where it is, and where somebody says it is."""
    name, (place, city) = rng.choice(words.NAMES), rng.choice(list(words.LANDMARKS.items()))
    single = [other for other in words.CITIES if other not in words.RARE_WORDS]
    said = rng.choice([other for other in single if other != city])
    return name, place, city, said


def misinformation_believed(rng: random.Random) -> Sentence:
    """What somebody who is wrong thinks."""
    name, place, city, said = _claim(rng)
    prompt = f"{name} says the {place} is in {said}. {name} thinks the {place} is in"
    return Sentence(prompt, f" {said}", f" {city}", ".", ("claim", place, said))


def misinformation_corrected(rng: random.Random) -> Sentence:
    """The truth, after somebody has said something else."""
    name, place, city, said = _claim(rng)
    start = rng.choice(["Really, the", "In truth, the"])
    prompt = f"{name} says the {place} is in {said}. {start} {place} is in"
    return Sentence(prompt, f" {city}", f" {said}", ".", ("claim", place, said))


def filler(rng: random.Random) -> Sentence:
    """Plain sentences in which nothing is asked."""
    name, other = rng.sample(words.NAMES, 2)
    thing, place, adjective = (
        rng.choice(pool) for pool in (words.THINGS, words.PLACES, words.ADJECTIVES)
    )
    forms = [
        f"{name} likes the {adjective} {thing}",
        f"The {adjective} {thing} was near the {place}",
        f"{name} lives in {rng.choice(words.CITIES)}",
        f"{name} told {other} about the {adjective} {place}",
        f"Yesterday {name} saw a {rng.choice(words.COLORS)} {thing} at the {place}",
    ]
    return Sentence(rng.choice(forms), ".", "", "", ())


KINDS: dict[str, tuple[Writer, float]] = {
    "indirect_object": (indirect_object, 0.24),
    "landmark": (landmark, 0.09),
    "capital": (capital, 0.06),
    "agreement": (agreement, 0.10),
    "greater_than": (greater_than, 0.13),
    "repetition": (repetition, 0.10),
    "pronoun": (pronoun, 0.05),
    "attribute": (attribute, 0.09),
    "misinformation_believed": (misinformation_believed, 0.045),
    "misinformation_corrected": (misinformation_corrected, 0.055),
    "filler": (filler, 0.04),
}
"""Writer and share of the documents, by kind."""


def training_texts(seed: int) -> Iterator[str]:
    """Endless documents without a held-out combination; the same for the same seed."""
    rng = random.Random(seed)
    writers = [writer for writer, _ in KINDS.values()]
    shares = [share for _, share in KINDS.values()]
    while True:
        sentence = rng.choices(writers, shares)[0](rng)
        if not (sentence.combination and sentence.held_out):
            yield sentence.text


def held_out(kind: str, count: int, seed: int) -> list[Sentence]:
    """`count` sentences of a kind whose combination training never sees.

    Facts have no combinations: there the sentences are those that were trained on.
    """
    rng, writer = random.Random(seed), KINDS[kind][0]
    found: list[Sentence] = []
    while len(found) < count:
        sentence = writer(rng)
        if sentence.held_out or not sentence.combination:
            found.append(sentence)
    return found
