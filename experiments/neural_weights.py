"""Makes the weights of the student ``neural`` that ship: about ten minutes on one CPU core.

    python experiments/neural_weights.py neural.safetensors

They are fitted to simulated answers, so that they carry no one's data and no one's licence.
"""

import argparse
from pathlib import Path

import safetensors.torch
import torch

from tutor_envs.population_files import default_population
from tutor_sim.logs.simulate import simulate_log
from tutor_sim.tracing.neural_fit import fit_neural


def main() -> None:
    """Simulate a log, fit the network, write it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("output", type=Path)
    parser.add_argument("--population", default="data_shaped")
    parser.add_argument("--students", type=int, default=4000)
    parser.add_argument("--steps", type=int, default=45, help="the default trial is as long")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    population = default_population(arguments.population).variant("no_style")
    log = simulate_log(population, n_students=arguments.students, n_steps=arguments.steps)
    weights = fit_neural(
        log,
        on_progress=lambda epoch, loss: print(f"epoch {epoch}: {loss:.4f}", flush=True),  # noqa: T201
    )
    safetensors.torch.save_file(weights, arguments.output)


if __name__ == "__main__":
    main()
