"""What a visitor may ask the page for; `experiment.limits` says how it is counted."""

from patchwright.app.page_controls import MOST_PAIRS
from patchwright.experiment.limits import Limits

LIMITS = Limits(who="this page", pairs=MOST_PAIRS, cells=200_000)
