"""What :func:`tutor_envs.testing.check_student` checks, one function for each rule."""
