"""The environments that Gymnasium knows by id; this imports neither torch nor an environment."""

from __future__ import annotations

from gymnasium.envs.registration import register, registry

ENVIRONMENTS = {
    "tutor_sim/StyleBandit-v0": "style_bandit",
    "tutor_sim/BKT-v0": "bkt",
    "tutor_sim/IRT-v0": "irt",
    "tutor_sim/Memory-v0": "memory",
}
"""Id -> name of the student model that is taught there."""


def register_environments() -> None:
    """Make the ids known to ``gymnasium.make`` and ``gymnasium.make_vec``."""
    for env_id, student in ENVIRONMENTS.items():
        if env_id not in registry:
            register(
                id=env_id,
                entry_point="tutor_envs.gym_env:TutoringEnv",
                vector_entry_point="tutor_envs.vector_env:TutoringVectorEnv",
                kwargs={"student": student},
            )
