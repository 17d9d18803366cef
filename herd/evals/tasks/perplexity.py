"""How well a model predicts texts of a user's own."""

from __future__ import annotations

from herd.core.errors import DataError
from herd.core.settings import AddedLater, InputFile, NonNegativeInt, input_path
from herd.evals.rows import DatasetRow, load_examples, text_in
from herd.evals.tasks import Example, Perplexity, Task, tasks

TEXTS = (".txt", ".md")


@tasks.add
def perplexity(
    *, data: InputFile, split: str = "", text: str = "text", limit: NonNegativeInt = 0,
    limit_tokens: AddedLater[NonNegativeInt] = 0,
) -> Task:  # fmt: skip
    """Bits a byte of texts: a file `.txt` or `.md` as one, or a column of a file or folder of rows.

    text: the column. limit: texts. limit_tokens: of each text, how many of the first tokens are scored; all when 0.
    Only bits a byte may be compared between tokenizers.
    Source: lm-evaluation-harness, `loglikelihood_rolling`; Gao et al. 2020 (the Pile), 3.1.
    """

    def columns(row: DatasetRow) -> tuple[DatasetRow, str]:
        return {"text": text_in(row, text)}, ""

    file = input_path(data)
    if file.suffix not in TEXTS:
        return Task(load_examples(data, columns, split=split, limit=limit), _text, Perplexity(limit_tokens))
    try:
        return Task([Example(file.name, {"text": file.read_text(encoding="utf-8")})], _text, Perplexity(limit_tokens))
    except UnicodeDecodeError as fault:
        raise DataError(f"{file}: not UTF-8 at byte {fault.start}; save it as UTF-8") from None


def _text(example: Example) -> str:
    return example.row["text"]
