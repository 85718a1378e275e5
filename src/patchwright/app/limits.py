"""What a visitor may ask the page for; `experiment.limits` says how it is counted."""

from patchwright.app.session_state import MOST_PAIRS
from patchwright.experiment.limits import Limits

LIMITS = Limits(who="this page", pairs=MOST_PAIRS, cells=200_000)
