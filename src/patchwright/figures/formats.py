"""The kinds of file that a figure can be."""

from pathlib import Path

from patchwright.errors import OutputError

FORMATS = ("png", "svg", "pdf")


def check_format(path: str | Path) -> str:
    """The format that a file name asks for. Raises OutputError with those there are."""
    suffix = Path(path).suffix.removeprefix(".").lower()
    if suffix not in FORMATS:
        raise OutputError(f"'{path}': a figure's name ends in .png, .svg or .pdf.")
    return suffix
