import psutil

from patchwright.model.memory import available_memory


def test_what_is_free_is_some_and_less_than_all() -> None:
    assert 0 < available_memory() < psutil.virtual_memory().total
