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


def stretches(numbers: Iterable[int]) -> list[str]:
    """Rising numbers, those that follow one another in one: '0-3' and '7' of 0, 1, 2, 3, 7."""
    found: list[list[int]] = []
    for number in numbers:
        if found and found[-1][-1] == number - 1:
            found[-1][1:] = [number]
        else:
            found.append([number])
    return ["-".join(map(str, one)) for one in found]


def either(names: Iterable[str]) -> str:
    """The names of a choice, at least one: `a, b or c`."""
    *others, last = names
    return f"{', '.join(others)} or {last}" if others else last
