"""The bounds of a server of the HTTP interface: on experiments, and on requests."""

from dataclasses import dataclass

from patchwright.experiment import limits


@dataclass(frozen=True)
class Limits(limits.Limits):
    """Bounds on one experiment, and on what clients may ask for beside.

    `body` in bytes; `queue` jobs that may wait; `streams` of events that may be open at one
    time; `drawings` of figures and `analyses` of sentences that may wait; `arrival` seconds
    that a body may take.
    """

    body: int = 2**20
    queue: int = 32
    streams: int = 256
    drawings: int = 16
    analyses: int = 32
    arrival: float = 30.0
