"""Starts programs under torchrun; is itself ``tutor-sim`` with something happening to a rank."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
import torch.distributed

LONGEST_S = 120


class Ended(NamedTuple):
    """How torchrun ended: its exit code, and what all processes printed."""

    code: int
    output: str


def torchrun(*arguments: str, n_processes: int = 2, folder: Path | None = None) -> Ended:
    """Run ``-m MODULE ARGUMENTS`` in several processes, in a folder; modules of tests are found."""
    if not torch.distributed.is_available() or not torch.distributed.is_gloo_available():
        pytest.skip("this PyTorch was built without torch.distributed or gloo")
    paths = [str(Path(__file__).parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    done = subprocess.run(
        [
            *(sys.executable, "-m", "torch.distributed.run", "--standalone"),
            *("--nproc-per-node", str(n_processes), "-m", *arguments),
        ],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=folder,
        timeout=LONGEST_S,
        check=False,
    )
    return Ended(done.returncode, done.stdout)


def main() -> None:
    """``RANK UPDATE SIGNAL ARGUMENTS``: a signal for a rank at the beginning of an update."""
    from tutor_agents.engine.trial_learner import TrialLearner
    from tutor_sim.cli import main

    rank, at_update, what = sys.argv[1], int(sys.argv[2]), signal.Signals[sys.argv[3]]
    del sys.argv[1:4]
    update = TrialLearner.update

    def disturbed(self: TrialLearner) -> dict[str, float]:
        if os.environ["RANK"] == rank and self.updates_done == at_update:
            signal.raise_signal(what)
        return update(self)

    TrialLearner.update = disturbed  # type: ignore[method-assign]
    main()


if __name__ == "__main__":
    main()
