"""The TensorBoard side of a run. The step of every event is the number of teaching actions so far.

================================  ==============================================================
tag                               content
================================  ==============================================================
``train/return``                  mean return of the training students, as rewarded in training
``train/...``                     learning rate, entropy, clip fraction, gradient norm, error of
                                  the first importance ratio, explained variance
``loss/...``                      the terms of the loss
``eval/validation_score``         score of the greedy tutor with the validation students
``eval/best_validation_score``    the best of these so far: that checkpoint is kept
``eval/...`` (at the end)         score with the test students, fraction of optimal, ...; fractions
                                  with the ends of their intervals (``..._low``, ``..._high``)
``adaptation/lesson_1``, ...      validation score of each lesson
``adaptation/gain``               that of the last lesson less that of the first
``adaptation/validation_curve``   image, a few times in training: how far the validation students
                                  are, action by action
``adaptation/validation_actions`` image: which teaching actions are chosen when
other images (at the end)         the pictures of the report
``probe/...``                     what can be told about the student from the tutor's memory
``perf/steps_per_s``              teaching actions a second, in training
``perf/elapsed_s``                seconds of training so far
``perf/cpu_s``                    CPU-seconds of training so far, all threads together
``config`` (text)                 the resolved experiment
HParams tab                       settings of the learner with the final ``eval/`` numbers
================================  ==============================================================
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch.utils.tensorboard import SummaryWriter
from torch.utils.tensorboard.summary import hparams

from tutor_sim.config import Experiment
from tutor_sim.files import saving

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PICTURE_DPI = 100


class Board:
    """Writes the events of one run."""

    def __init__(self, folder: Path, *, from_step: int) -> None:
        """Open a new event file; events of earlier ones at ``from_step`` or later are hidden.

        Raises:
            SaveError: the folder cannot be written.
        """
        self._folder = folder
        _wait_for_later_second(folder)
        with saving(folder):
            self._writer = SummaryWriter(str(folder), purge_step=from_step)

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        """One number for each tag."""
        with saving(self._folder):
            for tag, value in values.items():
                self._writer.add_scalar(tag, value, step)

    def picture(self, tag: str, figure: Figure, step: int) -> None:
        """A figure as an image."""
        from tutor_sim.drawing import to_rgb

        with saving(self._folder):
            self._writer.add_image(tag, to_rgb(figure, dpi=PICTURE_DPI), step, dataformats="HWC")

    def text(self, tag: str, text: str) -> None:
        """A text, shown as it is."""
        indented = "\n".join(f"    {line}" for line in text.splitlines())
        with saving(self._folder):
            self._writer.add_text(tag, indented)

    def final(self, experiment: Experiment, metrics: Mapping[str, float], step: int) -> None:
        """Final numbers as scalars, and the line in the HParams tab."""
        file_writer: Any = self._writer.file_writer
        settings = _flat(experiment.model_dump(mode="json", include={"seed", "task", "learner"}))
        with saving(self._folder):
            for summary in hparams(settings, dict(metrics)):  # type: ignore[no-untyped-call]
                file_writer.add_summary(summary)
        self.scalars(metrics, step)

    def flush(self) -> None:
        """Put everything on the disk."""
        with saving(self._folder):
            self._writer.flush()

    def close(self) -> None:
        """Write what is left and close the file."""
        with saving(self._folder):
            self._writer.close()


def _wait_for_later_second(folder: Path) -> None:
    """Readers order event files by the second in their names; a later file needs a later one."""
    seconds = [int(path.name.split(".")[3]) for path in folder.glob("events.out.tfevents.*")]
    while seconds and int(time.time()) <= max(seconds):
        time.sleep(0.05)


def _flat(value: Any, prefix: str = "") -> dict[str, bool | int | float | str]:
    """Nested settings as ``a.b`` -> scalar."""
    if isinstance(value, dict):
        parts = [_flat(inner, f"{prefix}{key}.") for key, inner in value.items()]
        return {key: inner for part in parts for key, inner in part.items()}
    scalar = value if isinstance(value, bool | int | float | str) else str(value)
    return {prefix.rstrip("."): scalar}
