"""How a figure is printed: said once for `Result.plot`, the command line and the page."""

from dataclasses import dataclass, field, fields

from patchwright.errors import InputError

WIDTHS = {"a column": 3.3, "one column of text": 5.5, "both columns": 6.75}
"""Widths in inches that journals and conferences print."""

NARROWEST, WIDEST = 2.5, 20.0

BLUE, RED, BROWN, GREY = "#2166ac", "#b2182b", "#8c6d1f", "#777777"
NEGATIVE, POSITIVE = BLUE, RED
AMOUNTS = ["#440154", "#3b528b", "#21918c", "#5ec962", "#fde725"]
"""The colours of heat maps, as the page has them (`app/widgets/map_logic.js`): of effects on both
sides of 0, and viridis from the least to the most.
"""


@dataclass(frozen=True)
class FigureStyle:
    """The choices that a figure leaves: `help` describes each where it is offered.

    Text is 7 points high at the printed width, numbers in cells 6. Raises InputError for a width
    that is not between 2.5 and 20 inches.
    """

    width: float = field(
        default=5.5, metadata={"help": "Width of the figure in inches, such as 3.3, 5.5 or 6.75."}
    )
    title: bool = field(
        default=False, metadata={"help": "Write what is shown above the figure, and the baselines."}
    )
    numbers: bool = field(
        default=True, metadata={"help": "Write numbers into cells, where they matter and fit."}
    )

    @classmethod
    def help_of(cls, name: str) -> str:
        """The help of one choice."""
        return next(one.metadata["help"] for one in fields(cls) if one.name == name)

    def __post_init__(self) -> None:
        if not NARROWEST <= self.width <= WIDEST:
            raise InputError(
                f"A figure {self.width:g} inches wide cannot be drawn: give {NARROWEST:g} to "
                f"{WIDEST:g}, such as 3.3 (a column) or 6.75 (both columns)."
            )


DEFAULT_STYLE = FigureStyle()
