"""MultiPL-E: HumanEval and MBPP in other programming languages."""

from __future__ import annotations

from pathlib import PurePosixPath

from herd.core.settings import settings
from herd.evals.benchmarks import GenerationSettings, benchmark, load_questions
from herd.evals.datasets import BenchmarkData, DatasetRow, RowForm
from herd.evals.task import Example, Grade, ModelAnswer, Prompt, Task
from herd.judge.programs import cut_at_stops, extract_code
from herd.sandbox.languages import toolchains
from herd.sandbox.limits import Program
from herd.sandbox.server import SandboxServer

# The release's names of languages, and those of the sandbox.
PROGRAM_NAMES = {
    "js": "javascript",
    "ts": "typescript",
    "cpp": "cpp",
    "rs": "rust",
    "go": "go",
    "go_test.go": "go",
    "java": "java",
}


@settings
class MultipleSettings(GenerationSettings):
    """As all benchmarks have them; subsets are languages by the release's names, such as `js` and `cpp`."""


def _row(row: DatasetRow, file: str) -> DatasetRow:
    stops = row["stop_tokens"]
    return {
        "id": f"{row['language']}/{row['name']}",
        "language": str(row["language"]),
        "prompt": row["prompt"],
        "tests": row["tests"],
        "stops": [stops] if isinstance(stops, str) else list(stops),
        "file": PurePosixPath(file).name,
    }


DATA = BenchmarkData(
    "nuprl/MultiPL-E",
    (RowForm(("name", "language", "prompt", "tests", "stop_tokens"), _row),),
    configs=tuple(f"humaneval-{language}" for language in ("cpp", "go", "java", "js", "rs", "ts")),
    names=("multiple", "MultiPL-E", "humaneval_multilang"),
    passed_over=("python",),
)


@benchmark(MultipleSettings, DATA)
def multiple(own: MultipleSettings) -> Task:
    """MultiPL-E: functions in C++, Go, Java, JavaScript, Rust and TypeScript, run in the sandbox.

    Right when the program with its tests ends without an error; by language. Rows of a language that the sandbox does
    not know are left out and told; of one that this machine lacks, an answer is void, with the reason. Source: Cassano
    et al. 2023; llama-models, eval_details (512 tokens). Differs: these tests are part of the program, so that one
    which ends early with success forges a pass; HumanEval's are not.
    """
    questions = load_questions(own, DATA, split="test", group=lambda row: row["language"])
    rows = tuple(row for row in questions.rows if row["language"] in PROGRAM_NAMES)
    unknown = sorted({row["language"] for row in questions.rows} - PROGRAM_NAMES.keys())
    notes = questions.notes + ((f"left out, for want of a sandbox: {', '.join(unknown)}",) if unknown else ())

    def prompt(example: Example) -> Prompt:
        words = f"Complete this program in {PROGRAM_NAMES[example.row['language']]}; answer with the whole of it:"
        chat = Prompt.of(f"{words}\n```\n{example.row['prompt']}\n```", example.id).chat
        return Prompt(chat, example.row["prompt"])

    shared = sorted(set.intersection(*(set(row["stops"]) for row in rows))) if rows else []
    return Task(
        [Example(str(row["id"]), row) for row in rows],
        prompt,
        own.generation(512, shared, chat_stop=()),
        grade_program_and_tests,
        group=lambda example: example.row["language"],
        notes=notes,
    )


def grade_program_and_tests(example: Example, answer: ModelAnswer) -> Grade:
    """Right when the program, with its tests behind it, ends without an error."""
    row, language = example.row, PROGRAM_NAMES[example.row["language"]]
    if toolchains().get(language) is None:
        return Grade(None, "", f"this machine has nothing for programs in {language}; install it")
    if answer.chat:
        code = extract_code(answer.text, language=language)
        if code is None:
            return Grade(0.0, "", "it has no program", unparsed=True)
    else:
        code = row["prompt"] + cut_at_stops(answer.text, row["stops"])
    result = SandboxServer.shared().run_program(Program(f"{code}\n{row['tests']}", language=language))
    if result.void:
        return Grade(None, code, result.reason)
    return Grade(float(result.exit_code == 0), code, result.reason or result.stderr[:200])
