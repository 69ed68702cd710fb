"""The tables of learning measures and of equity, for the terminal and the report."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from rich.table import Table
from rich.text import Text

from tutor_sim.equity import Equity, TutorEquity
from tutor_sim.evaluation import Role
from tutor_sim.measures import LearningMeasures, TimeToMastery
from tutor_sim.statistics import Estimate
from tutor_sim.summary import RANDOM, Summary, TutorSummary
from tutor_sim.tables import Column, decimals, fitting, interval_text, make_table, tutor_name

_NOTHING = "–"
_SHARE_DECIMALS = 3
_MAX_GROUPS_SHOWN = 4
"""Groups without order up to which each has a column."""

LEARNING = (
    "Expected scores in [0, 1] and mastery at the end of a lesson, from the simulator's truth; "
    "mean over lessons and students."
)


# -- learning measures ----------------------------------------------------------------------------
def learning_parts(summary: Summary) -> list[tuple[str, str, list[Column]]]:
    """Title, caption and columns of each table; the first column names the tutor.

    Retention is left out where nothing is forgotten, or nobody was asked.
    """
    measures = [line.measures for line in summary.tutors if line.measures is not None]
    if not measures:
        return []
    parts = [
        ("What students learned", LEARNING, _score_columns(measures)),
        (
            "Mastery",
            "Skills mastered in a lesson, and teaching actions until they were; ∞: fewer than half "
            "of the lessons get there.",
            _mastery_columns(measures[0]),
        ),
    ]
    if any(m.forgets for m in measures):
        caption = "Expected post-test after so many days without teaching."
        parts.append(("Retention", caption, _retention_columns(measures[0])))
    return [(title, caption, [_TUTOR, *columns]) for title, caption, columns in parts]


_TUTOR = Column("tutor", "", tutor_name, 0)


def _score_columns(measures: Sequence[LearningMeasures]) -> list[Column]:
    first = measures[0]
    n = decimals([m.total_reward for m in measures])
    return [
        _measured(
            "post-test",
            f"Expected post-test at the end of a lesson; before it, {first.pre_test}.",
            lambda m: m.post_test,
            1,
        ),
        _measured(
            "gain <g>",
            "Normalised gain of the averages (Hake): (post-test − pre-test) / (1 − pre-test) of "
            "the class, the share of what could be gained.",
            lambda m: m.normalised_gain,
            2,
        ),
        _measured(
            "gain of a student",
            "Average of the students' own normalised gains; a student whose every pre-test is 1 "
            f"has none (here {first.n_without_room:,}).",
            lambda m: m.student_gain,
            6,
        ),
        _measured(
            "mean recall",
            "Expected post-test averaged over the lesson's actions.",
            lambda m: m.mean_recall,
            3,
        ),
        _measured("reward", "Sum of the scores of a trial.", lambda m: m.total_reward, 4, n),
        _measured(
            "discounted",
            f"The same, discounted by {first.discount:g} for each teaching action; a score is paid "
            "with the last action of its lesson.",
            lambda m: m.discounted_reward,
            5,
            n,
        ),
    ]


def _mastery_columns(first: LearningMeasures) -> list[Column]:
    return [
        _measured(
            f"mastered of {first.n_skills}",
            f"Skills with a mastery of at least {first.mastery_threshold:g} at the lesson's end.",
            lambda m: m.mastered,
            1,
            2,
        ),
        *_time_columns(first),
    ]


def _measured(
    title: str,
    meaning: str,
    read: Callable[[LearningMeasures], Estimate],
    priority: int,
    n_decimals: int = _SHARE_DECIMALS,
) -> Column:
    return Column(title, meaning, _cell(lambda m: interval_text(read(m), n_decimals)), priority)


def _cell(read: Callable[[LearningMeasures], str]) -> Callable[[TutorSummary], str]:
    return lambda line: _NOTHING if line.measures is None else read(line.measures)


def _time_columns(first: LearningMeasures) -> list[Column]:
    """Share that gets there, median and restricted mean, for each number of skills."""
    names = {time.n_skills: name for name, time in first.time_to_mastery.items()}
    found = []
    for n_skills, name in names.items():
        skills = f"{n_skills} of {first.n_skills}"
        found += [
            Column(
                f"{skills} mastered",
                f"Share of the lessons in which {skills} skills were mastered, and the median "
                "number of teaching actions until then; lessons without count as longer than all.",
                _cell(lambda m, name=name: _reached(m.time_to_mastery[name])),  # type: ignore[misc]
                4,
            ),
            _measured(
                f"mean to {skills}",
                "Mean number of teaching actions until then, where a lesson without counts with "
                "its whole length (restricted mean survival time).",
                lambda m, name=name: m.time_to_mastery[name].restricted_mean,  # type: ignore[misc]
                5,
                1,
            ),
        ]
    return found


def _reached(time: TimeToMastery) -> str:
    """``80 %, median 3 [2, 4]``."""
    share = f"{time.reached.value:.0%}".replace("%", " %")
    value, low, high = ("∞" if math.isinf(part) else f"{part:.0f}" for part in time.median[:3])
    interval = "" if math.isnan(time.median.low) or low == high else f" [{low}, {high}]"
    return f"{share}, median {value}{interval}"


def _retention_columns(first: LearningMeasures) -> list[Column]:
    return [
        _measured(
            f"after {days} d",
            "Expected post-test after so many days without teaching." if i == 0 else "",
            lambda m, days=days: m.retention[days],  # type: ignore[misc]
            6,
        )
        for i, days in enumerate(first.retention)
    ]


def learning_tables(summary: Summary, *, width: int) -> list[Table]:
    """For a terminal; where it is narrow, columns are left out and named."""
    return [
        _fitted(title, columns, summary, width, caption)
        for title, caption, columns in learning_parts(summary)
    ]


# -- equity ---------------------------------------------------------------------------------------
def equity_columns(division: Equity) -> list[Column]:
    """Who benefits; the first column names the tutor."""
    by_name = {line.tutor: line for line in division.tutors}

    def cell(read: Callable[[TutorEquity], str]) -> Callable[[TutorSummary], str]:
        return lambda line: read(by_name[line.tutor])

    def estimate(read: Callable[[TutorEquity], Estimate], sign: str = "") -> Callable[..., str]:
        return cell(lambda line: interval_text(read(line), _SHARE_DECIMALS, sign=sign))

    found = [_TUTOR]
    for i in _groups_shown(division):
        found.append(
            Column(
                division.groups[i],
                "Expected post-test of these students at the end of a lesson.",
                estimate(lambda line, i=i: line.outcomes[i]),  # type: ignore[misc]
                3 if division.kind == "ability" and i == 0 else 5,
            )
        )
    if not found[1:]:
        found.append(Column("best, worst", "", cell(lambda t: f"{t.best}, {t.worst}"), 4))
    return [
        *found,
        Column("gap", f"{division.what}.", estimate(lambda line: line.gap), 1),
        Column(
            "vs random",
            "The gap less that of the random tutor with the same students: above 0 the tutor "
            "widens it.",
            cell(
                lambda line: (
                    "0 (reference)"
                    if line.tutor == RANDOM
                    else interval_text(line.versus_random, _SHARE_DECIMALS, sign="+")
                )
            ),
            2,
        ),
        Column(
            "vs pre-test",
            "The gap less that before teaching.",
            estimate(lambda line: line.versus_pre_test, "+"),
            4,
        ),
    ]


def _groups_shown(division: Equity) -> list[int]:
    """Both ends of an order; of a few groups, all."""
    n = len(division.groups)
    if n <= _MAX_GROUPS_SHOWN:
        return list(range(n))
    return [0, n - 1] if division.kind == "ability" else []


def equity_caption(division: Equity) -> str:
    """What the table is about, and where the students stood before."""
    before = ", ".join(
        f"{division.groups[i]} {division.pre_test[i].value:.3f}" for i in _groups_shown(division)
    )
    return (
        f"Expected post-test at the end of a lesson by {division.kind}, gap: {division.what}. "
        f"Before teaching: {before}{', ' if before else ''}gap {division.pre_test_gap}."
    )


def equity_tables(summary: Summary, *, width: int) -> list[Table]:
    """For a terminal, one table for each division of the students."""
    return [
        _fitted(
            f"Who benefits, by {division.kind}",
            equity_columns(division),
            summary,
            width,
            equity_caption(division),
        )
        for division in summary.equity
    ]


def equity_notes(summary: Summary) -> list[str]:
    """For each learned tutor whose gap is measurably wider than the random tutor's, a sentence."""
    return [
        f"{line.tutor} widens the gap by {division.kind} ({division.what}): {line.gap} of expected "
        f"post-test, {line.versus_random} more than the random tutor with the same students."
        for division in summary.equity
        for line in division.tutors
        if line.role is Role.LEARNED and line.versus_random.low > 0
    ]


def _fitted(
    title: str, everything: Sequence[Column], summary: Summary, width: int, caption: str
) -> Table:
    shown, left_out = fitting(everything, summary, width)
    if left_out:
        titles = ", ".join(column.title for column in left_out)
        caption = f"{caption} No room for: {titles}."
    return make_table(shown, summary, title, Text(caption))
