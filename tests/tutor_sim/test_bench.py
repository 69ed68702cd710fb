"""``tutor-sim bench``: subjects in their own processes, ratios, the gate, what is printed."""

import json
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from tutor_sim.bench.job import Subject
from tutor_sim.bench.ours import Simulate, Train
from tutor_sim.bench.peers import FAMILY
from tutor_sim.bench.report import check_gate, ratio_table, to_json
from tutor_sim.bench.rounds import Measured, Sample, Spread, measure, ratio
from tutor_sim.bench.train import flop_per_step
from tutor_sim.cli import app

JOB = """
from tutor_sim.bench.job import Work

class Count:
    def __init__(self, steps, score):
        print("noise of a library")
        self.steps, self.score, self.rounds = steps, score, []
    def prepare(self, round_):
        self.rounds.append(round_)
    def work(self):
        return Work(self.steps + 0 * sum(range(20_000)), self.score + len(self.rounds), 0.5)

def broken():
    raise ValueError("it needs an extra")
"""


def subject(tmp_path: Path, name: str, **settings: object) -> Subject:
    file = tmp_path / "counting_job.py"
    file.write_text(JOB)
    return Subject(name, f"{file}:Count", {"steps": 10, "score": 0.0} | settings)


def measured(name: str, score: float, *rates: float) -> Measured:
    samples = [Sample(1.0, 1.0, 0.1, round(rate), score, 0.01) for rate in rates]
    return Measured(Subject(name, "a:b", {}), 0.0, samples)


def test_each_subject_works_in_every_round_in_a_process_of_its_own(tmp_path):
    said = []
    subjects = [subject(tmp_path, "a"), subject(tmp_path, "b", steps=20)]
    a, b = measure(subjects, 3, said.append)
    assert [sample.steps for sample in a.samples] == [10] * 3
    assert [sample.steps for sample in b.samples] == [20] * 3
    # Round 0 is the warm-up, which is not among the samples; prepared once before each round.
    assert [sample.score for sample in a.samples] == [2, 3, 4]
    assert all(sample.cpu_s > 0 and sample.peak_gib > 0 for sample in a.samples)
    assert a.setup_cpu_s > 0
    order = [line.partition(": ")[2] for line in said if line.startswith("round")]
    assert order == ["a", "b", "b", "a", "a", "b"]


def test_memory_is_that_of_the_process_alone(tmp_path):
    held = torch.ones(2**27)  # half a GiB that a new process begins with for a moment
    (line,) = measure([subject(tmp_path, "small")], 1, lambda _: None)
    assert 0 < line.samples[0].peak_gib < held.nbytes / 2**30


def test_a_subject_that_fails_is_named_with_what_it_said(tmp_path):
    bad = subject(tmp_path, "the broken one")
    bad = bad._replace(make=bad.make.replace("Count", "broken"), settings={})
    with pytest.raises(ValueError, match=r"`the broken one` failed:\n(.*\n)*.*it needs an extra"):
        measure([bad], 1, lambda _: None)


def test_a_peer_that_is_not_installed_names_the_extra(tmp_path):
    file = tmp_path / "peer_of_another.py"
    file.write_text("import no_such_library\n")
    with pytest.raises(ValueError, match=r"no_such_library'\nInstall the extra tutor-sim\[peers"):
        measure([Subject("theirs", f"{file}:Count", {}, is_peer=True)], 1, lambda _: None)


def test_ratios_are_taken_within_a_round():
    fast, slow = measured("fast", 0, 100, 300, 1000), measured("slow", 0, 10, 100, 500)
    assert ratio(fast, slow) == Spread(3, 2, 10)
    table = ratio_table([fast], [slow])
    assert [list(column.cells) for column in table.columns] == [["slow"], ["3.00 (2.00–10.00)"]]


def test_the_gate_lets_equal_scores_pass_and_stops_others():
    same = [measured("ours", 0.320, 1, 2), measured("theirs", 0.325, 1, 2)]
    check_gate(same)
    with pytest.raises(ValueError, match="`wrong` does not simulate what `ours` does"):
        check_gate([*same, measured("wrong", 0.4, 1, 2)])


def test_everything_is_in_the_json():
    (line,) = to_json([measured("ours", 0.3, 7)])
    assert json.loads(json.dumps(line))["rounds"][0]["steps"] == 7


def test_our_simulation_teaches_new_students_in_each_round():
    job = Simulate(str(FAMILY), n_students=50, n_lessons=2, n_steps=8)
    scores = []
    for round_ in range(2):
        job.prepare(round_)
        work = job.work()
        assert work.steps == 50 * 16
        scores.append(work.score)
    assert 0 < scores[0] != scores[1] > 0


def test_our_training_is_an_update():
    learner = {"algorithm": "rl2", "n_trials": 4, "hidden_size": 8, "total_steps": 1_000}
    job = Train(str(FAMILY), n_lessons=2, n_steps=3, learner=learner)
    job.prepare(0)
    assert job.work().steps == 4 * 6


def test_operations_are_those_of_the_products():
    # Counted by torch on the products of a tiny network of the same shape, without its tables.
    width, n_actions, n = 8, 6, 32
    gru = torch.nn.Linear(width, 3 * width)
    policy = [torch.nn.Linear(width, width), torch.nn.Linear(width, n_actions)]
    value = [torch.nn.Linear(width, width), torch.nn.Linear(width, 1)]

    def flop(layers: list[torch.nn.Linear]) -> int:
        from torch.utils.flop_counter import FlopCounterMode

        with FlopCounterMode(display=False) as counter:
            for layer in layers:
                layer(torch.zeros(n, layer.in_features))
        return counter.get_total_flops() // n

    acting, everything = flop([gru, *policy]), flop([gru, *policy, *value])
    assert flop_per_step(width, n_actions, epochs=2) == acting + everything * (1 + 2 * 3)


def test_bad_numbers_are_refused():
    for arguments in (["env", "--rounds", "0"], ["train", "--trials", "1"]):
        assert CliRunner().invoke(app, ["bench", *arguments]).exit_code == 2


@pytest.mark.slow
def test_training_is_measured_from_the_command_line():
    result = CliRunner().invoke(app, ["bench", "train", "--trials", "8", "--rounds", "2"])
    assert result.exit_code == 0, result.output
    assert "ours, float32" in result.output
    assert "ours, bfloat16" in result.output
    assert "MFLOP of products" in result.output
    assert "our networks forward and back" in result.output
