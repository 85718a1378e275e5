"""One spelling, on the page, in the terminal, in figures and in files for people, of each thing."""

from collections.abc import Iterable


def run_name(run: object) -> str:
    """A run as people read it: `corrupt`, in Python and JSON, is 'corrupted'."""
    return "corrupted" if run == "corrupt" else str(run)


def sentence_case(text: str) -> str:
    """With a capital first letter, all others as they are."""
    return text[:1].upper() + text[1:]


def percent(share: float, decimals: int = 0) -> str:
    """A share (1 is the whole) in per cent, as '98 %'; no minus sign before nothing."""
    return f"{round(100 * float(share), decimals) + 0.0:.{decimals}f} %"


def number_ranges(numbers: Iterable[int]) -> list[str]:
    """Rising numbers as `0-3` and `7`, of 0, 1, 2, 3, 7."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1][1:] = [number]
        else:
            runs.append([number])
    return ["-".join(map(str, run)) for run in runs]


def join_words(parts: Iterable[str], word: str = "and") -> str:
    """'a', 'a and b', 'a, b and c'; '' of none."""
    *others, last = [*parts] or [""]
    return f"{', '.join(others)} {word} {last}" if others else last


def plural(number: int, what: str) -> str:
    """A number of things, as '1 pair' and '2,000 pairs'."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def join_with_or(names: Iterable[str]) -> str:
    """The names of a choice: `a, b or c`."""
    return join_words(names, "or")
