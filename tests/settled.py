"""Pages whose work is done, in Streamlit's own testing of apps."""

from streamlit.testing.v1 import AppTest

from patchwright.jobs import Job
from patience import SECONDS


def work_under_way(page: AppTest) -> list[Job]:
    """The work for which the page shows Stop: over by now, or not yet."""
    if not any(str(one.key).startswith("stop-") for one in page.button):
        return []
    slots = sorted(page.session_state["slots"])
    return [job for slot in slots if (job := page.session_state.get(slot, None)) is not None]


def settled(page: AppTest) -> AppTest:
    """The page when no work is under way any more; in a browser it looks again by itself."""
    for _ in range(100):  # works that follow one another, not time
        assert not page.exception
        jobs = work_under_way(page)
        if not jobs:
            return page
        assert all(job.wait(SECONDS) for job in jobs), "the work does not end"
        page.run()
    raise AssertionError("one work follows another without end")
