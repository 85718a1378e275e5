import pytest

import patchwright as pw
from patchwright.bench import time_sweeps
from patchwright.errors import InputError
from tiny import CONTEXT, N_HEADS, N_LAYERS


def test_each_sweep_is_timed_with_its_number_of_places(model: pw.Model) -> None:
    rows = list(time_sweeps(model, n_tokens=5, repeat=1))
    places = {row.name: row.places for row in rows}
    assert places == {
        "resid_pre per position": N_LAYERS * 5,
        "z per head": N_LAYERS * N_HEADS,
        "z per head_position": N_LAYERS * N_HEADS * 5,
    }
    assert all(row.seconds > 0 and row.full_runs > 0 for row in rows)


def test_prompts_longer_than_the_context_are_refused(model: pw.Model) -> None:
    with pytest.raises(InputError, match=f"at most {CONTEXT}"):
        next(time_sweeps(model, n_tokens=CONTEXT + 1, repeat=1))
