"""lm-eval's own tasks on files of rows: `lm_eval_tasks.py MODEL` reads one JSON object a line and answers with one.

MODEL: a folder in Hugging Face's layout. Of a line: tasks, lm-eval's names; data, a folder with a file
`CONFIGURATION/SPLIT.jsonl` (or `SPLIT.jsonl`) of the Hub's columns; num_fewshot, max_tokens, chat. The tasks are
lm-eval's, unchanged: only `datasets.load_dataset` is answered with those files, since they are all there is without a
network. The answer has, of every item, the prompts, log-likelihoods or answers, and lm-eval's metrics, and the seconds
of the processor that the evaluation took.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import datasets
import torch

torch.set_num_threads(1)
_FOLDER = [Path()]


def load_dataset(path: str, name: str | None = None, **_: Any) -> datasets.DatasetDict:
    """The rows beside one another in the folder of this task."""
    folder = _FOLDER[0] / name if name and (_FOLDER[0] / name).is_dir() else _FOLDER[0]
    splits = {}
    for file in sorted(folder.glob("*.jsonl")):
        rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
        splits[file.stem] = datasets.Dataset.from_list(rows)
    # lm-eval looks at splits that it asks nothing of; where a task shows shots, they are there.
    absent = dict.fromkeys(("train", "validation", "test", "dev"), next(iter(splits.values())))
    return datasets.DatasetDict(absent | splits)


datasets.load_dataset = load_dataset


def plain(value: Any) -> Any:
    """As JSON has it; numpy's numbers and truths among it."""
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value.item() if hasattr(value, "item") else value


def evaluate(model: Any, manager: Any, line: dict[str, Any]) -> dict[str, Any]:
    import lm_eval

    _FOLDER[0] = Path(line["data"])
    started = time.process_time()
    found = lm_eval.simple_evaluate(
        model,
        tasks=line["tasks"],
        task_manager=manager,
        num_fewshot=line.get("num_fewshot"),
        gen_kwargs={"max_gen_toks": line["max_tokens"]} if line.get("max_tokens") else None,
        bootstrap_iters=0,
        log_samples=True,
        apply_chat_template=line.get("chat", False),
        fewshot_as_multiturn=line.get("chat", False),
    )
    seconds = time.process_time() - started
    items = []
    samples: dict[str, list[Any]] = found["samples"]
    for task in sorted(samples):
        rows: dict[int, dict[str, Any]] = {}
        for sample in samples[task]:  # one for each filter
            row = rows.setdefault(sample["doc_id"], {"task": task, "arguments": sample["arguments"], "metrics": {}})
            row["responses"] = sample["resps"]
            row["metrics"][sample["filter"]] = {name: sample[name] for name in sample["metrics"]}
        items += [rows[number] for number in sorted(rows)]
    return {"seconds": seconds, "items": items}


def main() -> None:
    import lm_eval.evaluator
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager

    assert lm_eval.evaluator
    manager = TaskManager()
    model = HFLM(pretrained=sys.argv[1], dtype="float32", device="cpu", batch_size=int(sys.argv[2]))
    print(json.dumps({"ready": True}), flush=True)
    for text in sys.stdin:
        try:
            told = evaluate(model, manager, json.loads(text))
        except Exception as fault:  # one task that fails is no reason to load the model again
            told = {"error": f"{type(fault).__name__}: {fault}"[:400]}
        print(json.dumps(plain(told)), flush=True)


if __name__ == "__main__":
    main()
