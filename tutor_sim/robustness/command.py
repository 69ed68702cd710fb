"""``tutor-sim robustness``: a run's tutor with other students."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from rich.console import Console
from rich.text import Text

from tutor_sim.commands import best_so_far, resolve_device
from tutor_sim.files import saving
from tutor_sim.robustness.files import write_files
from tutor_sim.robustness.page import PAGE_FILE, all_notes, findings, robustness_table, write_page
from tutor_sim.robustness.populations import LeftOut, named_populations, standard_populations
from tutor_sim.robustness.teaching import Robustness, teach_elsewhere
from tutor_sim.runs import Run


def robustness_of_run(
    folder: Path,
    *,
    populations: Sequence[str],
    n_students: int | None,
    device: str,
    console: Console,
) -> Robustness:
    """Let a run's best tutor so far teach students of other populations; nobody is trained.

    Args:
        folder: the run folder; ``robustness/`` is written in it.
        populations: names or files; standard shifts, variants and other models if there are none.
        n_students: test students of each; as the experiment says unless given.
        device: of PyTorch; ``auto`` is allowed.
        console: for results.

    Raises:
        ValueError: bad input, or a run without a learned tutor.
        SaveError: something could not be written.
    """
    device = resolve_device(device)
    run = Run.open(folder)
    experiment = run.experiment
    if not experiment.learned:
        raise ValueError(f"{folder}: this run has no learned tutor to take elsewhere")
    torch.set_num_threads(run.n_threads)
    left_out: list[LeftOut] = []
    if populations:
        elsewhere = named_populations(experiment.population, populations)
    else:
        elsewhere, left_out = standard_populations(experiment.population)
    with console.status("") as status:
        found = teach_elsewhere(
            experiment,
            best_so_far(run, device),
            elsewhere,
            n_students=n_students or experiment.evaluation.n_students,
            device=device,
            left_out=left_out,
            status=lambda text: status.update(Text(text)),
        )
    target = folder / "robustness"
    with saving(target):
        target.mkdir(exist_ok=True)
    title = f"{experiment.name} with other students"
    write_files(target, found)
    write_page(target / PAGE_FILE, found, title=title)
    console.print(robustness_table(found, title=title, width=console.width))
    for note in [*findings(found), *all_notes(found)]:
        console.print(Text(note, style="dim"))
    console.print(Text(f"report: {target / PAGE_FILE}"), soft_wrap=True)
    return found
