"""Several processes learn what one process learns: two of them here, started by torchrun."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

from shared_training import CASES, N_UPDATES, Result, leaving, read, rl2, trained
from torchrun import torchrun
from tutor_agents.engine import parallel
from tutor_envs.population import Split, student_indices


def check_same(one: Result, several: Result, atol: float) -> None:
    """Weights and moments, which are means of gradients, and all that was logged."""
    for name, expected in one[0].items():
        torch.testing.assert_close(several[0][name], expected, rtol=0, atol=atol, msg=name)
    for row, expected_row in zip(several[1], one[1], strict=True):
        assert row == pytest.approx(expected_row, rel=0, abs=10 * atol)


@pytest.fixture(scope="module")
def two_processes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("two")
    ended = torchrun("shared_training", str(folder), "cpu")
    assert ended.code == 0, ended.output
    return folder


@pytest.mark.parametrize("name", CASES)
def test_two_processes_learn_what_one_learns(two_processes: Path, name: str) -> None:
    one, several = trained(name), read(two_processes, name)
    assert len(several[1]) == N_UPDATES
    check_same(one, several, atol=1e-6)
    # ... and both have the same weights to the bit: they cannot drift apart.
    other = read(two_processes / "other", name)
    assert all(torch.equal(tensor, other[0][k]) for k, tensor in several[0].items())
    assert other[1] == several[1]


def test_the_shares_of_students_who_leave_are_unlike() -> None:
    """Else a mean of the means over the shares would do, and the cases above would show little."""
    rollout = rl2(leaving(), "cpu")._networks.roll_out(student_indices(Split.TRAIN, 24))
    assert rollout.present is not None
    first, second = rollout.present.chunk(2, dim=1)
    assert abs(int(first.sum()) - int(second.sum())) > 5


def test_alone_everything_is_what_it_was() -> None:
    parallel.join()  # torchrun did not start us
    x = torch.arange(5.0)
    assert (parallel.size(), parallel.is_first()) == (1, True)
    assert parallel.share(x) is x
    assert parallel.gathered(x) is x
    assert parallel.largest(x) is x
    assert parallel.mean_count(torch.tensor(3)) == 3
    assert parallel.mean_count(torch.tensor(0)) == 1
    assert parallel.total(2.0) == 2.0
    assert parallel.from_first(lambda: 7) == 7
    parallel.leave()


def test_a_minibatch_without_equal_shares_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parallel, "size", lambda: 3)
    parallel.check_shares(24)
    text = (
        "(`n_trials` / `minibatches`) must be a multiple of the number of processes, got 32 and 3"
    )
    with pytest.raises(ValueError, match=re.escape(text)):
        parallel.check_shares(32)


def test_an_error_of_communication_names_who_does_not_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What really happens when one is killed is in the slow tests of the command."""
    store = torch.distributed.HashStore()
    monkeypatch.setattr(parallel, "_meeting", lambda: (store, 0, 4))
    monkeypatch.setattr(parallel, "_group", parallel._Group(0, 4))
    monkeypatch.setattr(parallel, "_SETTLING_S", 0.0)
    monkeypatch.setattr(parallel, "_LONGEST_SETTLING_S", 0.0)

    def fail(tensor: torch.Tensor) -> None:
        raise RuntimeError("Connection closed by peer")

    monkeypatch.setattr(torch.distributed, "all_reduce", fail)
    store.set("here/2", "")
    with pytest.raises(parallel.LostProcess, match="lost contact with rank 1 and 3 of 4 processes"):
        parallel.total(1.0)
    store.set("here/1", "")
    store.set("here/3", "")
    with pytest.raises(RuntimeError, match="Connection closed by peer"):  # then it is our mistake
        parallel.total(1.0)


def test_one_speaks_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    store, said = torch.distributed.HashStore(), []
    for rank in (1, 0, 2):
        monkeypatch.setattr(parallel, "_meeting", lambda rank=rank: (store, rank, 3))
        parallel.say_once(lambda rank=rank: said.append(rank))
    assert said == [1]
    for rank in (0, 1, 2):
        monkeypatch.setattr(parallel, "_meeting", lambda rank=rank: (store, rank, 3))
        parallel.say_once(lambda rank=rank: said.append(rank), by_first=True)
    assert said == [1, 0]


@pytest.mark.gpu
def test_processes_with_a_gpu_each_learn_what_one_learns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By NCCL; with one GPU, one process, which still reduces everything."""
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    n_processes = 2 if torch.cuda.device_count() > 1 else 1
    ended = torchrun("shared_training", str(tmp_path), "cuda", n_processes=n_processes)
    assert ended.code == 0, ended.output
    for name in CASES:
        check_same(trained(name, "cuda"), read(tmp_path, name), atol=1e-4)
