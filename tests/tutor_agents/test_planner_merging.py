"""Merging of equal beliefs."""

from __future__ import annotations

import torch

from tutor_agents.planning.merge import component_fingerprint, distinct, labelled, rows_fingerprint


def test_rows_that_differ_by_rounding_are_equal() -> None:
    rows = torch.tensor(
        [[0.1, 0.7], [0.1 + 1e-15, 0.7], [0.1 + 1e-8, 0.7], [-0.0, 0.0], [0.0, 0.0]]
    )
    rows = rows.double()
    rows[1, 0] = rows[0, 0] + 1e-15
    keys = rows_fingerprint(rows)
    assert keys[0] == keys[1]
    assert keys[0] != keys[2]
    assert keys[3] == keys[4]


def test_columns_are_told_apart() -> None:
    keys = rows_fingerprint(torch.tensor([[0.25, 0.5], [0.5, 0.25]]))
    assert keys[0] != keys[1]


def test_large_whole_numbers_stay_exact() -> None:
    keys = rows_fingerprint(torch.tensor([[2.0**45], [2.0**45 + 1]], dtype=torch.float64))
    assert keys[0] != keys[1]


def test_a_component_without_weight_does_not_count() -> None:
    weights, nodes = torch.tensor([0.0, 0.0, 0.5]).double(), torch.tensor([3, 4, 4])
    keys = component_fingerprint(0, weights, nodes)
    assert keys[0] == keys[1] != keys[2]


def test_dyadic_mixtures_do_not_collide() -> None:
    # Weights that are multiples of 2**-8 have many zero bits, a trap for weak hashes.
    share = (torch.arange(1, 257) / 256).double().unsqueeze(1).expand(-1, 200)
    node = torch.arange(200).expand(256, -1)
    keys = component_fingerprint(0, share, node) + component_fingerprint(1, 1 - share, node)
    assert len(distinct(keys.flatten())[0]) == 256 * 200


def test_distinct_points_every_row_to_its_first() -> None:
    keys = torch.tensor([5, -1, 5, 7, -1])
    first, inverse = distinct(keys)
    assert sorted(keys[first].tolist()) == [-1, 5, 7]
    assert torch.equal(keys[first][inverse.long()], keys)


def test_labels_are_told_apart() -> None:
    keys = labelled(torch.tensor([8, 8, 9]), torch.tensor([0, 1, 0]))
    assert len(set(keys.tolist())) == 3
