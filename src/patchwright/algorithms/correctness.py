"""Whether a model answers clean prompts rightly."""

from collections.abc import Sequence

from patchwright.algorithms.pair_runs import check_runs, stack_finals
from patchwright.algorithms.readout import MetricReader
from patchwright.model.forward import forward
from patchwright.model.requests import Row, Run
from patchwright.model.weights import Network
from patchwright.prompts.pair import TokenPair


def answers_correctly(network: Network, pairs: Sequence[TokenPair]) -> list[bool]:
    """For each pair, whether its answers are together likelier than its wrong ones.

    Without wrong answers: whether the likeliest next token begins an answer. Raises NonFiniteError
    where the model itself is broken.
    """
    rows = [
        Row(pair.clean + more, len(pair.clean) - 1) for pair in pairs for more in pair.continuations
    ]
    ran = forward(network, rows, frozenset())
    check_runs(ran)
    runs = iter(ran)
    return [_is_correct(network, pair, [next(runs) for _ in pair.continuations]) for pair in pairs]


def _is_correct(network: Network, pair: TokenPair, runs: Sequence[Run]) -> bool:
    read = MetricReader(network, pair, runs[0].final[0]).readout(stack_finals([runs]))
    if pair.wrongs:
        return bool(read("logprob_diff").item() > 0)
    ((likeliest, _),) = read.top(0, 1)
    return likeliest in {answer[0] for answer in pair.answers}
