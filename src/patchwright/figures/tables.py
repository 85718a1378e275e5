"""Lines and tables in a terminal: in the characters that it has, and with nothing cut."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from rich.console import Console, ConsoleOptions
from rich.measure import Measurement
from rich.table import Column, Table
from rich.text import Text

from patchwright.streams import encodable_text


@dataclass(frozen=True)
class Line:
    """Text without markup; what the terminal's encoding lacks is replaced before it is laid out."""

    text: str = ""
    style: str = ""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterable[Text]:
        """The text, wrapped where it is too long."""
        yield self._text(options)

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        """How wide it has to be, and would be."""
        return Measurement.get(console, options, self._text(options))

    def _text(self, options: ConsoleOptions) -> Text:
        return Text(encodable_text(self.text, options.encoding), style=self.style)


def table(*names: str, right: Collection[str] = (), whole: Collection[str] = ()) -> Table:
    """A table without lines, whose cells go on below where they do not fit.

    The columns `right` are aligned to the right; those in `whole` shrink last.
    """
    columns = (
        Column(
            name,
            justify="right" if name in right else "left",
            overflow="fold",
            no_wrap=name in whole,
        )
        for name in names
    )
    return Table(*columns, box=None, pad_edge=False)
