"""A student with moods: door 2, a plain Python class that knows nothing of this project.

Three wrong answers in a row spoil the mood, and a student in a bad mood learns little until an easy
exercise is answered correctly.
"""


class Moody:
    """One learner of two topics, with easy and hard exercises."""

    skills = ("fractions", "equations")
    actions = (
        ("easy", "fractions", ""),
        ("hard", "fractions", ""),
        ("easy", "equations", ""),
        ("hard", "equations", ""),
    )
    latents = {  # noqa: RUF012
        "speed": {"low": 0, "high": 1, "default": 0.2, "meaning": "learned by a hard exercise"},
        "patience": {"low": 1, "high": 6, "default": 3, "meaning": "wrong answers until it sulks"},
    }

    def __init__(self, latents, rng):
        self.speed = latents["speed"]
        self.patience = latents["patience"]
        self.rng = rng
        self.known = [0.2, 0.1]
        self.n_wrong = 0

    def teach(self, action):
        """One exercise; True for a correct answer."""
        topic, hard = divmod(action, 2)
        p_correct = (0.1 + 0.8 * self.known[topic]) if hard else (0.6 + 0.35 * self.known[topic])
        correct = self.rng.random() < p_correct
        sulks = self.n_wrong >= self.patience
        gain = self.speed * (1.0 if hard else 0.3) * (0.1 if sulks else 1.0)
        self.known[topic] += gain * (1 - self.known[topic])
        self.n_wrong = 0 if correct else self.n_wrong + 1
        return correct

    def mastery(self):
        """How well each topic is known; hidden from tutors."""
        return self.known
