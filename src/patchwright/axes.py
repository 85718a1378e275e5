"""Glossary of axes: the names that appear in shapes and in result dimensions.

pair      one clean/corrupt pair of a list of pairs
layer     transformer block, 0 is the lowest
position  token position in the prompt, 0 is the first (usually beginning-of-text)
query     position that attends; `key`: position attended to
head      attention head within its layer, one of its queries' heads
kv_head   head of keys and values, of which there may be fewer: each serves a group of heads
neuron    unit of an MLP's hidden layer
row       one altered run among those that share a batch
token     a (row, position) of the rows that are packed into one matrix
d_model   width of the residual stream
d_head    width of one head's query, key, value and `z`
d_mlp     number of neurons of one MLP
vocab     entries of the vocabulary

Arrays that leave the engine carry these names as xarray dimensions.
"""

from typing import Literal, get_args

Per = Literal["position", "head", "head_position", "layer", "neuron"]
Direction = Literal["denoise", "noise"]

Metric = Literal[
    "logit_diff",
    "logit",
    "probability",
    "prob_diff",
    "logprob",
    "logprob_diff",
    "kl",
    "rank",
]

PERS: tuple[Per, ...] = get_args(Per)
DIRECTIONS: tuple[Direction, ...] = get_args(Direction)
METRICS: tuple[Metric, ...] = get_args(Metric)

BUDGET = 512 * 2**20
"""Bytes that altered runs may take at one time, unless told otherwise."""

DIMS: dict[Per, tuple[str, ...]] = {
    "position": ("layer", "position"),
    "head": ("layer", "head"),
    "head_position": ("layer", "head", "position"),
    "layer": ("layer",),
    "neuron": ("layer", "neuron"),
}
"""Dimensions of a sweep, by `per`; the token embedding counts as layer 0."""

CHOICE = "choice"
"""The axis of each cell's likeliest tokens, from 1; the arrays that have it belong to no mean."""
