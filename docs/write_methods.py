"""Write `docs/methods/parameters.md` from the methods; with `--check`, say if it is out of date."""

import sys
from pathlib import Path

from patchwright.experiment.registry import Methods
from patchwright.methods import METHODS

PAGE = Path(__file__).parent / "methods" / "parameters.md"

HEAD = """\
# Methods and their parameters

Written by `python docs/write_methods.py` from the methods themselves; `patchwright methods --json` says the same. Every
experiment also has `model`, `revision`, `bos`, `metric` and, but for the trace, `pairs`. What is left out is as in the
column "default"; in Python, on the command line, in JSON and over HTTP alike.

"""

SHARED = ("model", "revision", "bos", "metric", "pairs")


def page_of(methods: Methods) -> str:
    """The page: a list of the methods, then a table of parameters for each."""
    every = methods.descriptions()
    rows = ["| method | command | what it does |", "| --- | --- | --- |"]
    rows += [
        f"| [`{one['name']}`](#{one['name']}) | `patchwright {one['command']}` | {one['does']} |"
        for one in every
    ]
    return HEAD + "\n".join([*rows, ""]) + "".join(map(_section, every))


def _section(one: dict[str, object]) -> str:
    lines = [f"\n## {one['name']}\n"]
    if one["source"]:
        lines.append(f"Source: {one['source']}.\n")
    parameters = one["parameters"]
    assert isinstance(parameters, list), "parameters are listed"
    own = [each for each in parameters if each["name"] not in SHARED]
    if not own:
        return "\n".join([*lines, "No parameters of its own.\n"])
    lines += ["| parameter | type | default | |", "| --- | --- | --- | --- |"]
    for each in own:
        usual = "required" if each["required"] else f"`{_written(each['default'])}`"
        usual = "by the site" if each["name"] == "per" else usual
        kind = str(each["type"]).replace("|", "\\|")
        lines.append(f"| `{each['name']}` | {kind} | {usual} | {each['help']} |")
    return "\n".join([*lines, ""])


def _written(value: object) -> str:
    return "none" if value is None else '""' if value == "" else str(value)


def main() -> None:
    """Exit status 1 where `--check` finds the page out of date."""
    text = page_of(METHODS)
    if "--check" not in sys.argv[1:]:
        PAGE.write_text(text, encoding="utf-8")
    elif not PAGE.exists() or PAGE.read_text(encoding="utf-8") != text:
        sys.exit(f"{PAGE} differs from the methods: run `make figures`.")


if __name__ == "__main__":
    main()
