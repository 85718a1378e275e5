"""Nodes and edges by code and in words: the same words on every part of the page."""

import pytest

from patchwright.edges import edge_name, layer_and_head, node_name, node_of, receiver_name


@pytest.mark.parametrize(
    ("node", "name", "at"),
    [
        ("embed", "embedding", (None, None)),
        ("L3H11", "head 11 of layer 3", (3, 11)),
        ("L12.mlp", "MLP 12", (12, None)),
        ("logits", "logits", (None, None)),
    ],
)
def test_a_node_has_a_name_in_words_a_layer_and_a_head(
    node: str, name: str, at: tuple[int | None, int | None]
) -> None:
    assert node_name(node) == name
    assert layer_and_head(node) == at
    assert node_of(node) == node


def test_a_head_is_read_by_three_inputs_and_other_nodes_by_themselves() -> None:
    assert node_of("L3H1.k") == "L3H1"
    inputs = [receiver_name(f"L3H1.{one}") for one in "qkv"]
    assert inputs == [f"{one} of head 1 of layer 3" for one in ("queries", "keys", "values")]
    assert receiver_name("L2.mlp") == "MLP 2"
    assert edge_name(("embed", "L0H1.v")) == "embedding → values of head 1 of layer 0"
    assert edge_name(("L2H0", "logits")) == "head 0 of layer 2 → logits"
