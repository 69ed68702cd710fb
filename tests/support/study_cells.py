"""A study whose cells run in other processes, and a learner whose process dies once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

STUDY = """\
kind: study
name: small
populations:
  two:
    population: students.yaml
task: {n_lessons: 2, n_steps: 3}
learners:
  steady: &learner
    algorithm: rl2
    total_steps: 2304
    n_trials: 16
    hidden_size: 8
    epochs: 1
    minibatches: 2
  mortal: {<<: *learner, algorithm: mortal.py:MortalLearner}
tutors: [random, oracle]
seeds: [0, 1]
evaluation: {n_students: 30, validation_students: 20, every_updates: 24}
checkpoint: {every_updates: 5}
"""
N_UPDATES = 24  # 2304 actions / (16 trials * 2 lessons * 3 actions)
N_CELLS = 2 * 4
STUDENTS = """\
name: p
student: bkt
model: {n_skills: 2}
latents: {style_strength: 0.8, responsiveness: {dirichlet: {concentration: 0.5}}}
"""
LEARNER = '''
import os
import signal
from pathlib import Path

from tutor_agents.rl2 import RL2Config, RL2Learner


class MortalConfig(RL2Config):
    algorithm: str


class MortalLearner(RL2Learner):
    """Its process dies once with each seed, in update 13: it is killed, or asked to go."""

    Config = MortalConfig

    def __init__(self, *what, seed, **more):
        super().__init__(*what, seed=seed, **more)
        self.ends_by = signal.SIGKILL if seed == 0 else signal.SIGTERM
        self.died = Path(__file__).with_name(f"died-{seed}")

    def update(self):
        with Path(__file__).with_name("updates.txt").open("a") as file:
            file.write(f"{self.updates_done}\\n")
        if self.updates_done == 12 and not self.died.exists():
            self.died.touch()
            os.kill(os.getpid(), self.ends_by)
        return super().update()
'''


def write_study(folder: Path, *, immortal: bool = False) -> Path:
    """The study's file, with what it refers to.

    Args:
        folder: where.
        immortal: nobody dies.
    """
    folder.mkdir(exist_ok=True)
    (folder / "students.yaml").write_text(STUDENTS)
    (folder / "mortal.py").write_text(LEARNER)
    for seed in (0, 1):
        if immortal:
            (folder / f"died-{seed}").touch()
    path = folder / "small.yaml"
    path.write_text(STUDY)
    return path


_CODE = """
from matplotlib.figure import Figure
from tutor_sim import cli, training
# Drawing takes most of the time of so small a run.
training.adaptation_curve = training.action_heatmap = lambda *what: Figure(figsize=(1, 1))
cli.main()
"""


def start(path: Path, *options: str, **environment: str) -> subprocess.Popen[str]:
    """``tutor-sim study`` in a process of its own; its folder is ``out``, beside the file."""
    out = path.with_name("out")
    return subprocess.Popen(
        [sys.executable, "-c", _CODE, "study", str(path), "--out", str(out), *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"} | environment,
    )


def finish(path: Path, *options: str, **environment: str) -> tuple[int, str]:
    """Exit code and output of :func:`start`."""
    process = start(path, *options, **environment)
    output, _ = process.communicate(timeout=300)
    return process.returncode, output


def kill(process: subprocess.Popen[str]) -> None:
    """As ``kill -9`` does."""
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
