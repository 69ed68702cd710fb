"""What learned tutors share: networks, rollouts, the update of PPO, saving."""
