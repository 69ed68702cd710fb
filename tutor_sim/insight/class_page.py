"""The class as a page to read and print, as CSV files, and as lines for the terminal."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from html import escape

from tutor_sim.insight.class_view import (
    LEARNED,
    LEFT,
    MANY_ATTEMPTS,
    MASTERED,
    MOST_PRACTICES,
    NOT_TAUGHT,
    STILL_LOW,
    STUCK,
    WRONG_IN_A_ROW,
    ClassReport,
    SkillReport,
    StudentReport,
)
from tutor_sim.insight.page import page, table
from tutor_sim.report import STYLES_ARE_CONTESTED

_NOTHING = "–"
_LIKELY = 0.5
"""How probable the best modality must be to be named."""


def class_html(report: ClassReport, title: str) -> str:
    """The page of a class."""
    introduction = [
        f"{len(report.students)} simulated students after lesson {report.lesson} of "
        f"{report.n_lessons}, {report.answers} teaching actions with each. Made from what the "
        "students were taught and answered alone.",
        "Believed mastery says how well a skill is known now, from 0 to 100 %, as expected by "
        f"{report.belief}, from this student's answers. A belief can be wrong: look at the "
        "attempts beside it.",
        f"Stuck: the last {WRONG_IN_A_ROW} or more answers to a skill were wrong, or after "
        f"{MANY_ATTEMPTS} or more attempts believed mastery is below {STILL_LOW:.0%}. Learned: "
        f"believed mastery of at least {MASTERED:.0%}.",
    ]
    sections = [
        "<h2>Who needs you now</h2>",
        _needy(report),
        "<h2>Common gaps</h2>",
        _gaps(report),
        "<h2>The class at a glance</h2>",
        _glance(report),
        "<h2>Student by student</h2>",
        f'<div class="cards">{"".join(_card(student) for student in report.students)}</div>',
    ]
    if any(student.likely_modality for student in report.students):
        sections.append(f'<p class="soft">{escape(STYLES_ARE_CONTESTED)}</p>')
    return page(title, introduction, "".join(sections))


def _needy(report: ClassReport) -> str:
    stuck = sorted((s for s in report.students if s.stuck and not s.left), key=_urgency)
    if not stuck:
        return "<p>Nobody is stuck.</p>"
    rows = [
        [
            f"Student {student.number}",
            "<br>".join(escape(_trouble(skill)) for skill in student.stuck),
            escape(need_text(student)),
        ]
        for student in stuck
    ]
    return table(
        f"{len(stuck)} of {len(report.students)} students are stuck, the most urgent first",
        ["student", "stuck on", "would help most"],
        rows,
    )


def _urgency(student: StudentReport) -> tuple[int, int, float]:
    longest = max(skill.wrong_in_a_row for skill in student.stuck)
    return -len(student.stuck), -longest, student.mean_mastery


def _trouble(skill: SkillReport) -> str:
    text = f"{_plain(skill.skill)}: {skill.correct} of {skill.attempts} right"
    if skill.wrong_in_a_row >= WRONG_IN_A_ROW:
        text += f", the last {skill.wrong_in_a_row} wrong"
    return f"{text}, believed mastery {skill.mastery:.0%}"


def gaps(report: ClassReport) -> list[tuple[str, int, int, int, float, list[int]]]:
    """Each skill, the widest gap first.

    Returns:
        Skill, how many students are stuck on it, have learned it, were not taught it, mean believed
        mastery, and the numbers of those whom its practice would help most.
    """
    here = [student for student in report.students if not student.left] or list(report.students)
    found = []
    for k, skill in enumerate(here[0].skills):
        each = [student.skills[k] for student in here]
        counts = [
            sum(one.status == wanted for one in each) for wanted in (STUCK, LEARNED, NOT_TAUGHT)
        ]
        mean = sum(one.mastery for one in each) / len(each)
        next_for = [
            s.number for s in here if s.next_skill is not None and s.next_skill.skill == skill.skill
        ]
        found.append((skill.skill, counts[0], counts[1], counts[2], mean, next_for))
    return sorted(found, key=lambda row: (row[4], row[0]))


def _gaps(report: ClassReport) -> str:
    rows = [
        [
            escape(_plain(skill)),
            f"{mean:.0%}",
            str(stuck),
            str(learned),
            str(not_taught),
            ", ".join(map(str, next_for)) or _NOTHING,
        ]
        for skill, stuck, learned, not_taught, mean, next_for in gaps(report)
    ]
    return table(
        "Skills, the least known first. Students in the last column can be taught together.",
        ["skill", "mean believed mastery", "stuck", "learned", "not taught", "next for students"],
        rows,
    )


def _glance(report: ClassReport) -> str:
    rows = []
    for student in report.students:
        cells = [_status_cell(skill) for skill in student.skills]
        rows.append([f"Student {student.number}", *cells, escape(need_text(student))])
    skills = [_plain(skill.skill) for skill in report.students[0].skills]
    return table(
        "Believed mastery and status of each skill in this lesson",
        ["student", *skills, "would help most"],
        rows,
    )


def _status_cell(skill: SkillReport) -> str:
    kind = {STUCK: ' class="stuck"', LEARNED: ' class="learned"'}.get(skill.status, "")
    return f"<span{kind}>{skill.mastery:.0%} {escape(skill.status)}</span>"


def _card(student: StudentReport) -> str:
    rows = []
    for skill in student.skills:
        meter = (
            f'<meter min="0" max="1" value="{skill.mastery:.2f}" '
            f'aria-label="believed mastery">{skill.mastery:.0%}</meter> {skill.mastery:.0%}'
        )
        kind = {STUCK: ' class="stuck"', LEARNED: ' class="learned"'}.get(skill.status, "")
        rows.append(
            f'<tr><th scope="row">{escape(_plain(skill.skill))}</th><td>{meter}</td>'
            f"<td>{skill.correct} / {skill.attempts}</td>"
            f"<td{kind}>{escape(skill.status)}</td></tr>"
        )
    notes = [need_text(student, True)]
    if student.likely_modality is not None and student.likely_modality[1] >= _LIKELY:
        name, p = student.likely_modality
        notes.append(f"Seems to learn best by {_plain(name)} ({p:.0%} sure).")
    told = "".join(f"<p>{escape(note)}</p>" for note in notes)
    gone = f" ({LEFT})" if student.left else ""
    return (
        f'<section class="card"><h3>Student {student.number}{gone}</h3><table>'
        '<thead><tr><th scope="col">skill</th><th scope="col">believed mastery</th>'
        '<th scope="col">right / tried</th><th scope="col">status</th></tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table>{told}</section>"
    )


def need_text(student: StudentReport, sentence: bool = False) -> str:
    """What would help most, and how much of it."""
    if student.left:
        return "No longer here." if sentence else LEFT
    need = student.next_skill
    if need is None:
        return "All skills are learned." if sentence else "nothing: all learned"
    how = f" by {_plain(student.modality)}" if student.modality else ""
    if need.practices is None:
        much = f"more than {MOST_PRACTICES} practices"
    else:
        much = f"about {need.practices} practice" + ("s" if need.practices != 1 else "")
    if sentence:
        return f"Next: {_plain(need.skill)}{how}, {much}."
    return f"{_plain(need.skill)}{how}, {much}"


def _plain(name: str) -> str:
    return name.replace("_", " ")


def class_lines(report: ClassReport) -> list[str]:
    """A short form for the terminal."""
    stuck = sorted((s for s in report.students if s.stuck and not s.left), key=_urgency)
    lines = [
        f"{len(report.students)} students after lesson {report.lesson} of {report.n_lessons}; "
        f"belief: {report.belief}, from answers alone",
        f"stuck: {len(stuck)} students",
    ]
    for student in stuck:
        where = "; ".join(_trouble(skill) for skill in student.stuck)
        lines.append(f"  student {student.number}: {where}")
        lines.append(f"    would help most: {need_text(student)}")
    lines.append("gaps, the least known first:")
    for skill, n_stuck, learned, _, mean, next_for in gaps(report):
        lines.append(
            f"  {_plain(skill)}: believed mastery {mean:.0%}, {n_stuck} stuck, {learned} learned, "
            f"next for {len(next_for)}"
        )
    return lines


def class_csv(students: Sequence[StudentReport]) -> str:
    """One line for each student and skill."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow([
        "student", "left", "skill", "attempts", "correct", "wrong_in_a_row", "believed_mastery",
        "status", "practices_to_mastery", "is_next", "modality",
    ])  # fmt: skip
    for student in students:
        for skill in student.skills:
            is_next = skill is student.next_skill
            many = f"more than {MOST_PRACTICES}" if skill.practices is None else skill.practices
            writer.writerow([
                student.number, str(student.left).lower(), skill.skill, skill.attempts,
                skill.correct, skill.wrong_in_a_row, f"{skill.mastery:.4f}", skill.status, many,
                str(is_next).lower(), student.modality if is_next else "",
            ])  # fmt: skip
    return buffer.getvalue()
