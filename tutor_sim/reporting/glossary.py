"""Definitions of the numbers of a report, for its page."""

from __future__ import annotations


def definitions() -> list[tuple[str, str]]:
    """Each term with its meaning."""
    return [
        (
            "score",
            "Mean over students and lessons of the score of a lesson; over training seeds, too, "
            "where there are several. Its 95 % interval: bootstrap over students, and over seeds "
            "and students where there are several seeds.",
        ),
        (
            "normalised score",
            "(V − V_random) / (V_reference − V_random), with the same students: 0 is the random "
            "tutor, 1 the Bayes-optimal tutor where every population has one, else the oracle (of "
            "several the best), which knows what no tutor can.",
        ),
        (
            "mean (over populations)",
            "Mean of the normalised scores, populations weighted alike. The interval is of a "
            "stratified bootstrap: in each population students and seeds are drawn again. "
            "Populations are not: nothing is said about populations that were not asked for.",
        ),
        (
            "IQM",
            "Interquartile mean over runs (a run is one training seed with one population): the "
            "mean without the lowest and the highest quarter (Agarwal et al. 2021). Of few runs "
            "nothing is cut off: up to three, it is the mean.",
        ),
        (
            "performance profile",
            "Share of the students whose own normalised score is at least τ, by τ. Bands are "
            "pointwise, and take the two ends of the scale as known.",
        ),
        (
            "probability of improvement",
            "P(X > Y) + P(X = Y) / 2 for the scores of one student with two tutors and the same "
            "luck, over students and pairs of seeds. It says how often, not by how much.",
        ),
        (
            "paired t-test, p (Holm)",
            "Test that two tutors' mean scores are equal: the difference over its standard error, "
            "whose variance has a part for students (paired) and one for each tutor's seeds, with "
            "Satterthwaite's degrees of freedom. Holm's correction: of all pairs in one column or "
            "table, the chance of any false “told apart” is 5 % at most. Each population is a "
            "family of its own, and so is the mean over all.",
        ),
        (
            "simultaneous interval",
            "Holds for all pairs of the family at once with 95 % (Bonferroni). It is a little "
            "wider than Holm's test asks for: two tutors may be told apart whose interval holds 0.",
        ),
        (
            "expected rank",
            "Rank by mean score among those that read nothing hidden, averaged over populations "
            "and bootstrap resamples, with the middle 95 % of the resamples. First: in which share "
            "of the resamples the tutor has the best mean rank.",
        ),
    ]
