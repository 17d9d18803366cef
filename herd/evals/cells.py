"""The scores that items have between two runs: with some causes as in one, and the others as in the other.

Of a cause that stored answers can be graded again under (stop strings, the limit of tokens, extraction, pass@k's k) an
item's score is known with the cause as in either run, as far as its text was ever written. Of a cause that changes what
a model writes (the model itself, its chat template, shots, the prompt's words, sampling) it is known where a run was
made so: of two runs, only with all of these as in the first or all as in the second; a further run of one of the models
under the other's prompt tells them apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from herd.evals.answer_runs import AnswerRun
from herd.evals.answers import AnswerRecord
from herd.evals.attribution import Mask
from herd.evals.replay import AnswerEnding, ReplayedAnswer, replay, replay_as
from herd.evals.resumable import grade_of
from herd.evals.scores import best_of_k
from herd.evals.task import Grade

MODELS, DRAWS, SAMPLING, PROMPT = "models", "other draws", "sampling", "prompt wording"
PRECISION, FORM = "precision", "choices compared or answers written"
STOP, LIMIT, EXTRACTION, SAMPLES = "stop strings", "token limit", "extraction", "pass@k"


@dataclass(frozen=True)
class ItemCell:
    """What an item scores under some settings. truncated, unparsed: the share of its answers that are."""

    value: float
    truncated: float
    unparsed: float


@dataclass(frozen=True)
class CauseNames:
    """In what two runs differ. answers: what changes what is written. grading: under what answers can be graded
    again."""

    answers: tuple[str, ...]
    grading: tuple[str, ...]

    @property
    def all(self) -> tuple[str, ...]:
        return self.answers + self.grading


def differing_prompts(first: AnswerRun, second: AnswerRun) -> tuple[int, int]:
    """Of the items of both runs, how many prompts are not the same text, and how many items there are."""
    both = first.records.keys() & second.records
    hashes = [(first.records[name][0].prompt_sha256, second.records[name][0].prompt_sha256) for name in both]
    return sum(was != now for was, now in hashes), len(both)


def cause_names(first: AnswerRun, second: AnswerRun) -> CauseNames:
    """In what the runs differ. Settings that made all prompts the same text are no causes."""
    answers = [MODELS] if first.model != second.model else []
    if first.precision != second.precision:
        answers.append(PRECISION)
    if first.output != second.output:
        answers.append(FORM)
    if differing_prompts(first, second)[0]:
        names = [name for name in first.prompt if first.prompt[name] != second.prompt.get(name)]
        answers += names or [PROMPT]
    if first.sampling != second.sampling:
        answers.append(SAMPLING)
    if first.output != second.output:  # no grader, and no ending, of the one can be put to the other
        return CauseNames(tuple(answers), ())
    grading = {
        STOP: first.ending.stop != second.ending.stop,
        LIMIT: first.ending.max_tokens != second.ending.max_tokens,
        EXTRACTION: first.grader != second.grader,
        SAMPLES: first.k != second.k,
    }
    return CauseNames(tuple(answers or [DRAWS]), tuple(name for name, differs in grading.items() if differs))


class ItemCells:
    """The known cells of every item. Which causes of answers further runs have is told by their settings; unused: the
    labels of those with one as in neither run, or with all as another run. incomplete: whether a cell was asked for of
    which an answer was never written so far, or that a grader cannot tell."""

    def __init__(self, first: AnswerRun, second: AnswerRun, others: Sequence[AnswerRun] = ()) -> None:
        self._first, self._second = first, second
        self.names = cause_names(first, second)
        self.unused: list[str] = []
        self.incomplete = False
        self._by_mask = {0: first, (1 << len(self.names.answers)) - 1: second}
        for run in others:
            mask = self._mask_of(run)
            if mask is None or mask in self._by_mask:
                self.unused.append(run.label)
            else:
                self._by_mask[mask] = run

    @property
    def num_runs(self) -> int:
        """How many runs' answers are used."""
        return len(self._by_mask)

    def of_item(self, name: str) -> dict[Mask, ItemCell]:
        """The cells of an item that both runs have and that is void in neither."""
        cells: dict[Mask, ItemCell] = {}
        shift, count = len(self.names.answers), len(self.names.grading)
        for mask, run in self._by_mask.items():
            records = run.records.get(name, ())
            for switched in range(1 << count) if records else ():
                cell = self._graded_again(run, records, switched)
                if cell is None:
                    self.incomplete = True
                else:
                    cells[mask | switched << shift] = cell
        for mask, run in ((0, self._first), ((1 << shift + count) - 1, self._second)):
            own = own_cell(run, name)
            assert own is not None
            cells[mask] = own
        return cells

    def _mask_of(self, run: AnswerRun) -> Mask | None:
        """Which causes of answers are as in the second run; None for a run with one as in neither."""
        mask = 0
        for place, name in enumerate(self.names.answers):
            value = _value_of(run, name)
            if value == _value_of(self._second, name):
                mask |= 1 << place
            elif value != _value_of(self._first, name):
                return None
        return mask

    def _graded_again(self, run: AnswerRun, records: Sequence[AnswerRecord], switched: int) -> ItemCell | None:
        """What a run's answers to an item score with the grading causes in `switched` as in the second run, the others
        as in the first."""
        sides = {
            name: self._second if switched >> place & 1 else self._first
            for place, name in enumerate(self.names.grading)
        }
        stop, limit, grader, best_of = (sides.get(name, run) for name in (STOP, LIMIT, EXTRACTION, SAMPLES))
        ending = AnswerEnding(stop.ending.stop, limit.ending.max_tokens)
        grades, truncated = [], []
        for place, record in enumerate(records):
            answer = _replayed(run, record, ending) or self._as_counterpart(run, record, place, ending)
            grade = _grade(run, grader, record, answer) if answer is not None else None
            if answer is None or grade is None:
                return None
            grades.append(grade)
            truncated.append(answer.truncated)
        return _cell(grades, truncated, best_of.k)

    def _as_counterpart(
        self, run: AnswerRun, record: AnswerRecord, place: int, ending: AnswerEnding
    ) -> ReplayedAnswer | None:
        """What the same model wrote to the same prompt under this ending, in the other run."""
        other = self._second if run is self._first else self._first
        answers = other.records.get(record.id, ())
        target = other.ending
        if self.names.answers != (DRAWS,) or place >= len(answers) or run.output != "generate":
            return None
        if (target.stop, target.max_tokens) != (ending.stop, ending.max_tokens):
            return None
        return replay_as(record, run.ending, answers[place], target)


def _replayed(run: AnswerRun, record: AnswerRecord, ending: AnswerEnding) -> ReplayedAnswer | None:
    if run.output != "generate":
        return ReplayedAnswer(record.response, False)
    return replay(record, run.ending, ending)


def _grade(run: AnswerRun, grader: AnswerRun, record: AnswerRecord, answer: ReplayedAnswer) -> Grade | None:
    """As it was graded where nothing changed, else graded again."""
    is_same = answer.text == record.response and answer.truncated == (record.finish_reason == "length")
    if grader.grader == run.grader and (is_same or run.output != "generate"):
        return grade_of(record)
    return grader.regrade(record, answer)


def own_cell(run: AnswerRun, name: str) -> ItemCell | None:
    """What the item scored in its own run; None where it was not asked, or is void."""
    records = run.records.get(name, ())
    return _cell(list(map(grade_of, records)), [record.finish_reason == "length" for record in records], run.k)


def _cell(grades: Sequence[Grade], truncated: Sequence[bool], k: int) -> ItemCell | None:
    value = best_of_k(grades, k)
    if value is None:
        return None
    return ItemCell(value, sum(truncated) / len(truncated), sum(grade.unparsed for grade in grades) / len(grades))


def _value_of(run: AnswerRun, cause: str) -> object:
    if cause in (MODELS, PRECISION, FORM):
        return {MODELS: run.model, PRECISION: run.precision, FORM: run.output}[cause]
    return run.sampling if cause == SAMPLING else run.prompt.get(cause)
