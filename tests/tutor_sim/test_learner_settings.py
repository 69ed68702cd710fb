"""Settings of learners in an experiment: what cannot work is refused before anything is written."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from tutor_sim.cli import app
from tutor_sim.schema import experiment_schema

EXPERIMENT = """\
name: settings
population: {population}
task: {{n_lessons: 2, n_steps: 4}}
learner: {{algorithm: rl2, total_steps: 1_000, {settings}}}
tutors: [random]
"""


@pytest.mark.parametrize(
    ("population", "settings", "message"),
    [
        (
            "bkt",
            "memory: {kind: snail, n_filter: 3}",
            ":4: unknown key `learner.memory.n_filter`; allowed: kind, n_filters; did you mean "
            "'n_filters'?",
        ),
        ("bkt", "memory: snale", ":4: unknown `learner.memory.kind` 'snale'; allowed: gru, lstm"),
        (
            "bkt",
            "memory: {kind: transformer, n_heads: 5}",
            ": experiment `settings`, learner: `hidden_size` must be a multiple of `n_heads`, "
            "got 64 and 5",
        ),
        (
            "bkt",
            "network: by_skill",
            ":4: `learner.network` must be 'joint' or 'per_skill', got 'by_skill'",
        ),
    ],
)
@pytest.mark.parametrize("command", ["train", "compare"])
def test_a_wrong_setting_gets_one_message(tmp_path, command, population, settings, message):
    file = tmp_path / "x.yaml"
    file.write_text(EXPERIMENT.format(population=population, settings=settings))
    runs = tmp_path / "runs"
    result = CliRunner().invoke(app, [command, str(file), "--runs", str(runs)])
    assert result.exit_code == 2
    assert f"error: {file}{message}" in " ".join(result.output.split())
    assert not runs.exists()


def test_a_network_that_does_not_fit_the_actions_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "x.yaml"
    quiz = "{name: q, student: style_bandit, model: {questionnaire_accuracy: 0.8}, latents: {}}"
    file.write_text(EXPERIMENT.format(population=quiz, settings="network: per_skill"))
    result = CliRunner().invoke(app, ["train", str(file), "--runs", str(tmp_path / "runs")])
    assert result.exit_code == 2
    assert "`network` must be 'joint' for student model `style_bandit`" in result.output
    assert not (tmp_path / "runs").exists()


def test_the_schema_knows_names_of_memories_and_their_settings() -> None:
    definitions = experiment_schema()["$defs"]
    choices = definitions["RL2Config"]["properties"]["memory"]["anyOf"]
    assert any("transformer" in choice.get("enum", ()) for choice in choices)
    assert "n_heads" in definitions["TransformerConfig"]["properties"]
