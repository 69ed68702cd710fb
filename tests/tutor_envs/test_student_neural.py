"""The neural student: the equations by hand, its weights file, and that it replays its log."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import Tensor, nn

from tutor_envs.population import Population
from tutor_envs.population_files import default_population, load_population
from tutor_envs.students.neural import Neural

K, H = 2, 3


def random_weights(seed: int = 0) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    shapes = {
        "start": (H,),
        "start_per_ability": (H,),
        "input_gates": (2, K, 3 * H),
        "recurrent": (3 * H, H),
        "recurrent_bias": (3 * H,),
        "readout": (K, H),
        "easiness": (K,),
        "logit_per_ability": (K,),
    }
    return {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}


def latents(
    n: int, *, ability: float = 0.5, strength: float = 0.0, share: tuple[float, ...] = (0.5, 0.5)
) -> dict[str, Tensor]:
    return {
        "ability": torch.full((n,), ability, dtype=torch.float64),
        "responsiveness": torch.tensor(share, dtype=torch.float64).expand(n, 2),
        "style_strength": torch.full((n,), strength, dtype=torch.float64),
    }


@pytest.fixture
def weights_file(tmp_path: Path) -> Path:
    path = tmp_path / "w.safetensors"
    save_file(random_weights(), path)
    return path


def student(path: Path) -> Neural:
    return Neural(weights=str(path), modalities=("a", "b"))


def test_one_answer_by_hand(tmp_path: Path) -> None:
    """One hidden unit, so that every number can be checked with a calculator."""
    weights = {
        "start": [0.1],
        "start_per_ability": [0.2],
        "input_gates": [[[0.0, 0.0, 0.0]], [[0.3, -0.4, 0.5]]],  # wrong, right: r, z, n
        "recurrent": [[0.6], [0.7], [0.8]],
        "recurrent_bias": [0.1, 0.2, 0.3],
        "readout": [[2.0]],
        "easiness": [-0.5],
        "logit_per_ability": [1.5],
    }
    save_file({name: torch.tensor(x) for name, x in weights.items()}, tmp_path / "w.safetensors")
    model, person = student(tmp_path / "w.safetensors"), latents(1)
    state = model.begin_lesson(person, torch.empty(1, 0))
    h = math.tanh(0.1 + 0.5 * 0.2)
    assert state["hidden"].item() == pytest.approx(h)

    def sigmoid(x: float) -> float:
        return 1 / (1 + math.exp(-x))

    p = sigmoid(2.0 * h - 0.5 + 0.5 * 1.5)
    assert model.predict(person, state, torch.tensor([0]))[0, 1].item() == pytest.approx(p)
    r, z = sigmoid(0.3 + 0.6 * h + 0.1), sigmoid(-0.4 + 0.7 * h + 0.2)
    c = math.tanh(0.5 + r * (0.8 * h + 0.3))
    after = model.update(person, state, torch.tensor([0]), torch.tensor([1]))
    assert after["hidden"].item() == pytest.approx((1 - z) * c + z * h)


def test_without_style_it_is_pytorchs_gated_recurrent_unit(weights_file: Path) -> None:
    weights, model, n = random_weights(), student(weights_file), 20
    cell = nn.GRUCell(1, H, dtype=torch.float64)
    person = latents(n, ability=-1.0)
    generator = torch.Generator().manual_seed(1)
    state = model.begin_lesson(person, torch.empty(n, 0))
    for _ in range(5):
        action = torch.randint(4, (n,), generator=generator)
        response = torch.randint(2, (n,), generator=generator)
        h = state["hidden"]
        state = model.update(person, state, action, response)
        for j in range(n):
            gates = weights["input_gates"][response[j], action[j] // 2]
            parameters = {
                "weight_ih": torch.zeros(3 * H, 1),
                "bias_ih": gates,
                "weight_hh": weights["recurrent"],
                "bias_hh": weights["recurrent_bias"],
            }
            cell.load_state_dict(parameters)
            expected = cell(torch.zeros(1, 1, dtype=torch.float64), h[j : j + 1])
            torch.testing.assert_close(state["hidden"][j : j + 1], expected)


@settings(max_examples=15, deadline=None)
@given(
    ability=st.floats(-5, 5),
    strength=st.floats(0, 1),
    share=st.floats(0, 1),
    actions=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 1)), max_size=30),
)
def test_the_state_stays_bounded_whatever_the_style(
    tmp_path_factory: pytest.TempPathFactory,
    ability: float,
    strength: float,
    share: float,
    actions: list[tuple[int, int]],
) -> None:
    path = tmp_path_factory.getbasetemp() / "bounded.safetensors"
    save_file({name: 4 * w for name, w in random_weights(2).items()}, path)
    model = student(path)
    person = latents(1, ability=ability, strength=strength, share=(share, 1 - share))
    state = model.begin_lesson(person, torch.empty(1, 0))
    for action, response in actions:
        state = model.update(person, state, torch.tensor([action]), torch.tensor([response]))
        assert state["hidden"].abs().max() <= 1


def test_a_useless_modality_changes_nothing_and_a_weak_one_less(weights_file: Path) -> None:
    model = student(weights_file)
    person = latents(1, strength=1.0, share=(0.0, 1.0))
    state = model.begin_lesson(person, torch.empty(1, 0))
    right = torch.tensor([1])
    useless = model.update(person, state, torch.tensor([0]), right)
    torch.testing.assert_close(useless, state)
    moved = [
        model.update(latents(1, strength=s, share=(0.4, 0.6)), state, torch.tensor([0]), right)
        for s in (0.0, 0.5)
    ]
    full, weak = (m["hidden"] - state["hidden"] for m in moved)
    torch.testing.assert_close(weak, 0.9 * full)  # 1 + .5 (2 * .4 - 1) = .9


def test_sizes_and_hash_come_from_the_file(weights_file: Path) -> None:
    model = student(weights_file)
    assert model.n_skills == K
    assert len(model.weights_sha256) == 64
    again = Neural.model_validate(model.model_dump(mode="json"))
    assert again == model
    assert Path(model.weights).is_absolute()


def test_changed_weights_are_refused(weights_file: Path) -> None:
    written = student(weights_file).model_dump(mode="json")
    save_file(random_weights(seed=1), weights_file)
    with pytest.raises(ValueError, match=r"`weights`: .*w.safetensors has changed: its SHA-256"):
        Neural.model_validate(written)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"readout": torch.zeros(K, H + 1)}, r"`readout` of shape \(2, 3\), got \(2, 4\)"),
        ({"easiness": torch.zeros(K + 1)}, r"`input_gates` of shape \(2, 3, 9\), got \(2, 2, 9\)"),
        ({"start": torch.full((H,), math.nan)}, r"must hold finite `start`"),
        ({"recurrent": None}, r"`recurrent` of shape \(9, 3\), got nothing"),
        ({"easiness": torch.zeros(K, 1)}, r"`easiness` of shape \(2,\), got \(2, 1\)"),
    ],
)
def test_ill_shaped_weights_are_one_clear_error(
    tmp_path: Path, change: dict[str, Tensor | None], message: str
) -> None:
    tensors = {k: v for k, v in (random_weights() | change).items() if v is not None}
    save_file(tensors, tmp_path / "w.safetensors")
    with pytest.raises(ValueError, match=message):
        student(tmp_path / "w.safetensors")


def test_missing_or_foreign_files_are_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"`weights`: cannot read .*absent.safetensors"):
        student(tmp_path / "absent.safetensors")
    (tmp_path / "text.safetensors").write_text("not tensors")
    with pytest.raises(ValueError, match=r"`weights`: cannot read .*text.safetensors"):
        student(tmp_path / "text.safetensors")


def test_another_number_of_skills_is_refused(weights_file: Path) -> None:
    with pytest.raises(ValueError, match=r"`n_skills` must be 2, as in .*, got 5"):
        Neural(weights=str(weights_file), n_skills=5)


def test_the_default_population_ships_with_its_weights() -> None:
    population = default_population("neural")
    assert isinstance(population.student_model, Neural)
    written = population.model_dump(mode="json")
    assert written["model"]["weights"] == "neural.safetensors"  # holds in any installation
    assert Population.model_validate(written) == population


def test_a_population_file_stands_next_to_its_weights(
    weights_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "name: mine\nstudent: neural\nmodel: {weights: w.safetensors, modalities: [a]}\n"
    path = weights_file.parent / "mine.yaml"
    path.write_text(text)
    (weights_file.parent / "elsewhere").mkdir()
    monkeypatch.chdir(weights_file.parent / "elsewhere")
    assert load_population(path).student_model.n_actions == K
