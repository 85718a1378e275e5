"""Base runs are made once for a pair, by the weights that are asked, and within a bound."""

import copy
import pickle
from collections.abc import Sequence
from dataclasses import replace
from threading import Thread

import pytest
import torch
from transformers import PreTrainedModel

import patchwright as pw
from patchwright.model.base_runs import DEFAULT_SITES, MIN_PAIRS, base_runs, kept_bytes
from patchwright.model.forward import forward
from patchwright.model.requests import BASE_SITES, Row, Run
from patchwright.model.run_memory import RunMemory, bytes_of
from patchwright.model.weights import Network, map_tensors
from patchwright.places import Site


def of(*sites: Site) -> frozenset[Site]:
    return BASE_SITES | frozenset(sites)


def rows_of(*tokens: int) -> list[Row]:
    """A prompt, and one that starts from it."""
    clean = Row((1, 2, *tokens), 1 + len(tokens))
    return [clean, Row((1, 3, *tokens), 1 + len(tokens), clean)]


def memory_of(network: Network) -> RunMemory:
    assert network.memory is not None
    return network.memory


@pytest.fixture
def network(model: pw.Model) -> Network:
    return replace(model.network, memory=RunMemory())


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[frozenset[Site]]:
    """What each pass that was made kept."""
    seen: list[frozenset[Site]] = []

    def counted(network: Network, rows: Sequence[Row], keep: frozenset[Site]) -> list[Run]:
        seen.append(keep)
        return forward(network, rows, keep)

    monkeypatch.setattr("patchwright.model.base_runs.forward", counted)
    return seen


def same(some: Sequence[Run], others: Sequence[Run]) -> None:
    for one, other in zip(some, others, strict=True):
        assert (one.tokens, one.read, one.kept.keys()) == (
            other.tokens,
            other.read,
            other.kept.keys(),
        )
        assert torch.equal(one.final, other.final)
        parts = [(one.keys, other.keys), *((one.kept[site], other.kept[site]) for site in one.kept)]
        for mine, theirs in parts:
            assert len(mine) == len(theirs)
            assert all(torch.equal(a, b) for a, b in zip(mine, theirs, strict=True))


def test_runs_are_made_once_and_again_for_a_site_they_lack(
    network: Network, made: list[frozenset[Site]]
) -> None:
    asked: list[tuple[Site, ...]] = [
        (),
        ("z", "pattern"),
        ("mlp_act",),
        ("mlp_act", "attn_out"),
        (),
    ]
    for sites in asked:
        found = base_runs(network, rows_of(4, 5), of(*sites))
        same(found, forward(network, rows_of(4, 5), of(*sites)))
    assert made == [DEFAULT_SITES, DEFAULT_SITES | {"mlp_act"}]


def test_where_runs_are_large_only_what_was_asked_for_is_kept(
    network: Network, made: list[frozenset[Site]]
) -> None:
    usual = sum(kept_bytes(network, len(row.tokens), DEFAULT_SITES) for row in rows_of(4, 5))
    bounded = replace(network, memory=RunMemory(MIN_PAIRS * usual - 1))
    asked: list[tuple[Site, ...]] = [(), ("z",), (), ("attn_out",), ("z", "attn_out")]
    for sites in asked:
        found = base_runs(bounded, rows_of(4, 5), of(*sites))
        same(found, forward(network, rows_of(4, 5), of(*sites)))
    assert made == [of(), of("z"), of("z", "attn_out")]


def test_what_is_asked_for_alone_is_what_comes(network: Network) -> None:
    base_runs(network, rows_of(4), of("z", "embed"))
    for run in base_runs(network, rows_of(4), frozenset({"embed"})):
        assert set(run.kept) == {"embed"}
        assert not run.keys


def test_other_prompts_and_the_same_in_other_company_are_other_runs(
    network: Network, made: list[frozenset[Site]]
) -> None:
    clean, corrupt = rows_of(4)
    alone = Row(corrupt.tokens, corrupt.read)
    for rows in (rows_of(4), rows_of(5), [clean], [clean, alone], [Row(clean.tokens, 0)]):
        for _ in range(2):
            same(base_runs(network, rows, of()), forward(network, rows, of()))
    assert len(made) == 5


def test_other_weights_get_their_own_runs(network: Network, made: list[frozenset[Site]]) -> None:
    other = map_tensors(network, lambda tensor: tensor * 1.5)
    assert other.memory is network.memory
    for _ in range(2):
        same(base_runs(network, rows_of(4), of()), forward(network, rows_of(4), of()))
        same(base_runs(other, rows_of(4), of()), forward(other, rows_of(4), of()))
    assert len(made) == 2
    named = replace(network, spec=replace(network.spec, name="other"))
    base_runs(named, rows_of(4), of())
    assert len(made) == 2


def test_another_kernel_makes_its_own_runs(
    network: Network, made: list[frozenset[Site]], monkeypatch: pytest.MonkeyPatch
) -> None:
    for kernel in ("addmm", "onednn", "addmm"):
        monkeypatch.setattr("patchwright.model.base_runs.kernel_for", lambda _, own=kernel: own)
        base_runs(network, rows_of(4), of())
    assert len(made) == 2


def test_the_least_recently_used_is_forgotten_first(
    network: Network, made: list[frozenset[Site]]
) -> None:
    size = bytes_of(forward(network, rows_of(1), of()))
    memory = RunMemory(3 * size)
    bounded = replace(network, memory=memory)
    for token in (1, 2, 3, 1, 4):
        base_runs(bounded, rows_of(token), of())
    assert (len(made), len(memory), memory.n_bytes) == (4, 3, 3 * size)
    for token, passes in ((1, 4), (3, 4), (4, 4), (2, 5)):
        base_runs(bounded, rows_of(token), of())
        assert len(made) == passes, token


def test_what_exceeds_the_bound_alone_is_not_kept_and_takes_no_room(
    network: Network, made: list[frozenset[Site]]
) -> None:
    memory = RunMemory(bytes_of(forward(network, rows_of(1), of())))
    bounded = replace(network, memory=memory)
    base_runs(bounded, rows_of(1), of())
    same(base_runs(bounded, rows_of(1, 2, 3), of()), forward(network, rows_of(1, 2, 3), of()))
    base_runs(bounded, rows_of(1), of())
    assert (len(made), len(memory)) == (2, 1)


def test_bytes_are_those_of_the_whole_batch_that_a_part_holds_on_to() -> None:
    whole = torch.zeros(100, 4, dtype=torch.float32)
    run = Run((1,), 0, whole[:1], {"embed": [whole[5:6]]}, [torch.zeros(2, dtype=torch.float64)])
    assert bytes_of([run, run]) == 100 * 4 * 4 + 2 * 8


def test_threads_may_ask_at_once(network: Network) -> None:
    size = bytes_of(forward(network, rows_of(1), of()))
    bounded = replace(network, memory=RunMemory(2 * size))
    expected = {token: forward(network, rows_of(token), of()) for token in range(4)}
    wrong: list[int] = []

    def ask() -> None:
        for i in range(40):
            found = base_runs(bounded, rows_of(i % 4), of())
            if not torch.equal(found[1].final, expected[i % 4][1].final):
                wrong.append(i)

    threads = [Thread(target=ask) for _ in range(4)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    memory = memory_of(bounded)
    assert not wrong
    assert (len(memory), memory.n_bytes) == (2, 2 * size)


def test_a_copy_and_another_process_begin_empty(network: Network) -> None:
    base_runs(network, rows_of(4), of())
    memory = memory_of(network)
    assert len(memory) == 1
    for other in (pickle.loads(pickle.dumps(memory)), memory_of(copy.deepcopy(network))):
        assert (len(other), other.n_bytes) == (0, 0)
        assert other.most_bytes == memory.most_bytes


def test_a_model_that_was_wrapped_keeps_nothing_and_one_that_was_loaded_does(
    module: PreTrainedModel, demo: pw.Model
) -> None:
    assert pw.wrap_model(module).network.memory is None
    assert demo.network.memory is not None
    assert demo.named("other").network.memory is demo.network.memory
