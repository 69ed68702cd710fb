"""The schedulers of spaced repetition as tutors: Leitner, SM-2, FSRS, and rules on recall.

What is taught is a deck of cards (:mod:`tutor_agents.schedulers.deck`). A lesson is a new topic, so
every lesson starts with new cards.
"""
