"""Runs cells on a Ray cluster, a task each; whose worker is lost is run again.

Tasks read and write the study's folder, so all machines of the cluster must see it at the same
path; plug-ins of third parties must be found there, too.
"""

from __future__ import annotations

import io
import logging
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from tutor_agents.engine.parallel import LostProcess
from tutor_sim.stopping import Interrupted
from tutor_sim.study.cells import Outcome, run_cell

MAX_RETRIES = 3
"""How often a cell is run again because its worker was lost."""


def import_ray() -> Any:
    """The package ``ray``.

    Raises:
        ValueError: it is not installed.
    """
    # Statistics of use are not sent anywhere unless the user says so.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # Without it Ray warns that a later version will leave CUDA_VISIBLE_DEVICES alone, as this does.
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    try:
        import ray
    except ModuleNotFoundError:
        raise ValueError("`--ray` needs Ray: pip install 'tutor-sim[ray]'") from None
    return ray


def run_on_ray(folders: Sequence[Path], log: Console) -> Iterator[tuple[int, Outcome]]:
    """As many cells at a time as the cluster has CPUs, in whatever order they finish.

    The cluster is that of ``RAY_ADDRESS``, else one that runs on this machine, else one that is
    started here for the while.

    Args:
        folders: of the cells.
        log: for what the cluster has.

    Yields:
        Index of a cell, and what came of it.

    Raises:
        ValueError: Ray is not installed, or the cluster cannot be reached.
        LostProcess: a cell has lost its worker again and again.
    """
    ray = import_ray()
    try:
        ray.init(log_to_driver=False, logging_level=logging.ERROR)
    except ConnectionError as error:
        raise ValueError(f"`--ray`: {error}; see RAY_ADDRESS, and RAY_AUTH_MODE=token") from error
    try:
        n_cpus = int(ray.cluster_resources().get("CPU", 0))
        n_machines = sum(node["Alive"] for node in ray.nodes())
        log.print(Text(f"Ray cluster: CPUs: {n_cpus}, machines: {n_machines}"))
        # A worker that is asked to go (SIGTERM) saves and raises `Interrupted`: as good as lost.
        remote = ray.remote(num_cpus=1, max_retries=MAX_RETRIES, retry_exceptions=[Interrupted])
        task = remote(_run_silently)
        running = {
            task.options(name="/".join(folder.parts[-2:])).remote(folder.absolute()): index
            for index, folder in enumerate(folders)
        }
        while running:
            (finished,), _ = ray.wait(list(running))
            index = running.pop(finished)
            yield index, _outcome(ray, finished, folders[index])
    finally:
        ray.shutdown()


def _run_silently(folder: Path) -> Outcome:
    return run_cell(folder, Console(file=io.StringIO()))


def _outcome(ray: Any, finished: Any, folder: Path) -> Outcome:
    try:
        outcome: Outcome = ray.get(finished)
    except ray.exceptions.RayTaskError:  # a mistake in the program, which keeps its traceback
        raise
    except ray.exceptions.RayError as error:
        reason = str(error).strip().splitlines()[0]
        raise LostProcess(
            f"the worker at {folder} was lost {MAX_RETRIES + 1} times: {reason}"
        ) from error
    return outcome
