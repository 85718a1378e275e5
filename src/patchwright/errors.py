"""Everything that Patchwright raises on purpose.

PatchwrightError                exit status 1 unless said otherwise
├── InputError                  what was given cannot be used; exit status 2
│   ├── PromptError             empty, too long, not comparable
│   │   └── UnequalLengthsError the prompts have different numbers of tokens
│   ├── AnswerError             empty, outside the vocabulary, unfit for the metric
│   ├── UnknownPlaceError       a site, layer, head, position or neuron that does not exist
│   ├── ExperimentError         a choice that the method does not have (metric, per, direction)
│   ├── CheckpointError         a folder or file that holds no usable model
│   │   └── UnknownFamilyError  a model, but of an architecture without a reader
│   ├── MemoryBudgetError       the model or the sweep does not fit
│   ├── OutputError             a result that cannot be written or read where asked
│   ├── ExplainError            no language model to explain with, as the environment is set
│   ├── UnknownRunError         a run that the store does not have
│   ├── ArchiveError            a file that is no archive of runs, or not a sound one
│   ├── RecordError             a record of a file of pairs that gives none
│   ├── FormatError             a file of pairs whose fields are none of the formats'
│   ├── LessonError             a lesson file that cannot be used
│   └── FactError               a lesson asks a result for something that it does not have
├── ApiError                    a request over HTTP that is refused for what it is
├── QueueFullError              too many people wait already
├── StoreError                  the run store cannot be opened, read or written
├── ClusterError                Ray is missing, or its cluster is of no use
├── HubError                    the model hub could not be reached or refused
└── NonFiniteError              the model itself produced NaN or infinite logits

A message says what was given, what is allowed and what to do next; it is the
same on the page, on the command line and in Python. Who is served from another
machine gets it without what is nobody's business there, such as paths (`public`).
"""

from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from typing import ClassVar

MOST_REASON = 400
"""Characters of a reason that a library gave: some put a whole file into it."""


STORE_TROUBLE = (
    "The run store of this server has trouble: runs may be missing or not kept. Its owner finds the "
    "reason in the server's log."
)
"""What others than a store's owner are told of its errors."""

MOST_QUOTED = 80
"""Characters of what was given that a message repeats."""


def reason(error: object) -> str:
    """What a library said was wrong, in a line that may be shown: short, nothing unprintable."""
    words = " ".join(printable_text(str(error)).split()).rstrip(".")
    return words if len(words) <= MOST_REASON else f"{words[:MOST_REASON]}…"


def quoted(text: str) -> str:
    """The beginning of what was given, for a message: enough to know it by, and printable."""
    shown = printable_text(text[:MOST_QUOTED]).replace("\n", "<U+000A>")
    return f"'{shown}{'…' if len(text) > MOST_QUOTED else ''}'"


def printable_text(text: str) -> str:
    """`text` without what acts on a terminal: such a character is its code point, as <U+001B>."""
    return "".join(
        sign if sign.isprintable() or sign == "\n" else f"<U+{ord(sign):04X}>" for sign in text
    )


class PatchwrightError(Exception):
    """Root of the tree; `exit_status` is what the command line returns."""

    exit_status: ClassVar[int] = 1

    @property
    def public(self) -> str:
        """The message for those who are served by a machine that is not theirs."""
        return str(self)


class InputError(PatchwrightError, ValueError):
    """What the caller gave cannot be used."""

    exit_status: ClassVar[int] = 2


class PromptError(InputError):
    """A prompt, or a pair of prompts, that cannot be run."""


class UnequalLengthsError(PromptError):
    """The clean and the corrupted prompt have different numbers of tokens."""


class AnswerError(InputError):
    """An answer that is empty, unknown to the model, or unfit for the metric."""


class UnknownPlaceError(InputError):
    """A site, layer, head, position or neuron that the model does not have."""


class ExperimentError(InputError):
    """A choice that the method does not offer."""


class CheckpointError(InputError):
    """A folder or file that holds no usable model."""


class UnknownFamilyError(CheckpointError):
    """A checkpoint of an architecture that Patchwright cannot read."""


class MemoryBudgetError(InputError):
    """The model or the sweep does not fit into the memory there is."""


class OutputError(InputError):
    """A result that cannot be written or read where asked."""


class ExplainError(InputError):
    """A language model was asked for, and the environment does not name a usable one."""


class UnknownRunError(InputError):
    """A run that the store does not have, or of which it has several."""


class ArchiveError(InputError):
    """A file that is not an archive of runs, or one whose contents do not fit together."""


class RecordError(InputError):
    """A record of a file of pairs that gives none."""


class FormatError(InputError):
    """A file of pairs whose fields are none of the formats'; `columns` are those that it has."""

    def __init__(self, message: str, columns: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.columns = columns


class LessonError(InputError):
    """A lesson file that cannot be used; one line a fault."""


class FactError(InputError):
    """A lesson asks a result for something that it does not have."""


class ApiError(PatchwrightError):
    """A request over HTTP that is refused for what it is, not for the experiment in it.

    It is answered with `status`, `headers`, and `code` beside the message.
    """

    def __init__(
        self, status: int, code: str, message: str, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.status, self.code, self.headers = status, code, dict(headers or {})


class QueueFullError(PatchwrightError):
    """Too many people wait already."""


class StoreError(PatchwrightError):
    """The run store cannot be opened, read or written."""

    @property
    def public(self) -> str:
        """Without where the store is, and what the system says of it."""
        return STORE_TROUBLE


class ClusterError(PatchwrightError):
    """Ray is missing, its cluster cannot be reached, or its workers are of no use."""


class HubError(PatchwrightError):
    """The model hub could not be reached, or refused the request.

    `public` is the message without this machine's paths, where it has any.
    """

    def __init__(self, message: str, public: str | None = None) -> None:
        super().__init__(message)
        self._public = message if public is None else public

    @property
    def public(self) -> str:
        """Without where models are kept, and what the network says."""
        return self._public


class NonFiniteError(PatchwrightError):
    """The model produced logits that are not finite numbers."""


@contextmanager
def convert_errors(refusal: Callable[[str], PatchwrightError]) -> Generator[None]:
    """The boundary around what a file or a library of somebody else's runs.

    Whatever is raised inside becomes what `refusal` makes of its reason. That includes what
    is no `Exception`: a library written in Rust that panics raises a BaseException of its own.
    """
    try:
        yield
    except (PatchwrightError, KeyboardInterrupt, SystemExit, GeneratorExit):
        raise
    except BaseException as error:
        raise refusal(reason(error)) from error
