"""The environments that Gymnasium knows by id; this imports neither torch nor an environment."""

from __future__ import annotations

from gymnasium.envs.registration import register, registry

ENVIRONMENTS = {
    "tutor_sim/StyleBandit-v0": "style_bandit",
    "tutor_sim/BKT-v0": "bkt",
    "tutor_sim/IRT-v0": "irt",
    "tutor_sim/MIRT-v0": "mirt",
    "tutor_sim/AFM-v0": "afm",
    "tutor_sim/PFA-v0": "pfa",
    "tutor_sim/Elo-v0": "elo",
    "tutor_sim/ZPD-v0": "zpd",
    "tutor_sim/Memory-v0": "memory",
    "tutor_sim/EFC-v0": "efc",
    "tutor_sim/HLR-v0": "hlr",
    "tutor_sim/DASH-v0": "dash",
    "tutor_sim/DASHMCM-v0": "dash_mcm",
    "tutor_sim/DASHACTR-v0": "dash_actr",
    "tutor_sim/DAS3H-v0": "das3h",
    "tutor_sim/ACTR-v0": "actr",
    "tutor_sim/PPE-v0": "ppe",
    "tutor_sim/FSRS-v0": "fsrs",
    "tutor_sim/KSS-v0": "kss",
    "tutor_sim/TMS-v0": "tms",
    "tutor_sim/OU-v0": "ou",
    "tutor_sim/DataShaped-v0": "data_shaped",
    "tutor_sim/Neural-v0": "neural",
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
