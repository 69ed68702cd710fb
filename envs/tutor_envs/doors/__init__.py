"""Doors for students that are not built in: plain Python classes and Gymnasium environments.

Both hold one student each. Here they are hosted in batches, in this process or in workers, behind
the interface of :class:`tutor_envs.student.StudentModel`.
"""
