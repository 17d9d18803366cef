"""Verdicts of the official graders, one a line: reads a JSON request a line, writes its verdict as JSON.

Run by benchmarks/verdicts.py with the interpreter of an environment that has the peer: `lm-eval==0.4.13`, or
`bfcl-eval==2026.3.23`, both without what they need beyond the modules imported here.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import sys
import types
from functools import cache
from typing import Any


@cache
def bfcl() -> Any:
    """Its checker. The table of models is replaced: it raises KeyError for unknown names, and imports every client."""

    class Models(dict):
        def __missing__(self, name: str) -> Any:
            return types.SimpleNamespace(underscore_to_dot=False)

    stub: Any = types.ModuleType("bfcl_eval.constants.model_config")
    stub.MODEL_CONFIG_MAPPING = Models()
    sys.modules[stub.__name__] = stub
    return types.SimpleNamespace(
        check=importlib.import_module("bfcl_eval.eval_checker.ast_eval.ast_checker").ast_checker,
        decode=importlib.import_module("bfcl_eval.model_handler.utils").default_decode_ast_prompting,
        enums=importlib.import_module("bfcl_eval.constants.enums"),
        utils=importlib.import_module("bfcl_eval.utils"),
    )


def bfcl_text(request: dict[str, Any]) -> Any:
    """What is wrong with a written answer, as its runner says it."""
    peer, category = bfcl(), request["category"]
    form = peer.enums.ReturnFormat[request["language"].upper()]
    relevance = "relevance" in category
    try:
        calls = peer.decode(request["text"], peer.enums.ReturnFormat.PYTHON if relevance else form)
    except Exception:
        if relevance:
            return None if "irrelevance" in category else "relevance_error:decoder_failed"
        return "ast_decoder:decoder_failed"
    if relevance:
        called = not peer.utils.is_empty_output(calls)
        if "irrelevance" in category:
            return "irrelevance_error:decoder_success" if called else None
        return None if called else "relevance_error:decoder_failed"
    if not peer.utils.is_function_calling_format_output(calls):
        return "ast_decoder:decoder_wrong_output_format"
    return bfcl_calls({**request, "calls": calls})


def bfcl_calls(request: dict[str, Any]) -> Any:
    peer = bfcl()
    language = peer.enums.Language[request["language"].upper()]
    verdict = peer.check(
        request["functions"], request["calls"], request["answers"], language, request["category"], "any"
    )
    return None if verdict["valid"] else verdict["error_type"]


@cache
def ifeval() -> Any:
    nltk = importlib.import_module("nltk")
    nltk.data.path.append(os.environ["PUNKT"])
    importlib.import_module("langdetect").DetectorFactory.seed = 0
    return importlib.import_module("lm_eval.tasks.ifeval.utils")


def instructions(request: dict[str, Any]) -> Any:
    """The strict and the loose verdicts of all instructions."""
    peer = ifeval()
    example = peer.InputExample(0, request["instructions"], "", request["arguments"])
    strict = peer.test_instruction_following_strict(example, request["answer"])
    loose = peer.test_instruction_following_loose(example, request["answer"])
    return [strict.follow_instruction_list, loose.follow_instruction_list]


def filters(request: dict[str, Any]) -> Any:
    """What lm-eval's filters extract, and whether its exact match holds."""
    api = importlib.import_module("lm_eval.filters.extraction")
    metric = importlib.import_module("lm_eval.api.metrics").exact_match_fn
    kinds = {"regex": api.RegexFilter, "multi_choice_regex": api.MultiChoiceRegexFilter}
    chosen = kinds[request["filter"]](**request["settings"])
    extracted = next(iter(chosen.apply([[request["answer"]]], [request.get("doc", {})])))[0]
    score = metric(references=[request["target"]], predictions=[extracted], **request["match"])["exact_match"]
    return [extracted, float(score)]


@cache
def module(path: str) -> Any:
    """A file of lm-eval's tasks by its path; theirs import little."""
    folder = importlib.util.find_spec("lm_eval").submodule_search_locations[0]  # type: ignore[union-attr]
    spec = importlib.util.spec_from_file_location(path.replace("/", "_"), os.path.join(folder, "tasks", path))
    loaded = importlib.util.module_from_spec(spec)  # type: ignore[arg-type]
    spec.loader.exec_module(loaded)  # type: ignore[union-attr]
    return loaded


def drop(request: dict[str, Any]) -> Any:
    scores = module("drop/utils.py").process_results({"answers": request["golds"]}, [request["answer"]])
    return [float(scores["em"]), float(scores["f1"])]


def minerva(request: dict[str, Any]) -> Any:
    """The normalized answers, and whether they are equivalent."""
    peer = module("minerva_math/utils.py")
    gold = peer.normalize_final_answer(peer.remove_boxed(peer.last_boxed_only_string(request["solution"])))
    answer = peer.normalize_final_answer(peer.get_unnormalized_answer(request["answer"]))
    return [answer, gold, bool(peer.is_equiv(answer, gold))]


def hendrycks(request: dict[str, Any]) -> Any:
    peer = module("hendrycks_math/utils.py")
    return bool(peer.process_results({"solution": request["solution"]}, [request["answer"]])["exact_match"])


def ruler(request: dict[str, Any]) -> Any:
    peer = module("ruler/common_utils.py")
    prediction = peer.postprocess_pred([request["answer"]])
    return [
        peer.string_match_all(prediction, [request["references"]]),
        peer.string_match_part(prediction, [request["references"]]),
    ]


def rouge(request: dict[str, Any]) -> Any:
    scorer = importlib.import_module("rouge_score.rouge_scorer").RougeScorer(["rougeL", "rougeLsum"])
    scores = scorer.score(request["reference"], request["answer"])
    return [scores["rougeL"].fmeasure, scores["rougeLsum"].fmeasure]


VERDICTS = {
    function.__name__: function
    for function in (bfcl_text, bfcl_calls, instructions, filters, drop, minerva, hendrycks, ruler, rouge)
}


def main() -> None:
    for line in sys.stdin:
        request = json.loads(line)
        try:
            verdict = VERDICTS[request["verdict"]](request)
        except Exception as fault:
            verdict = {"raised": f"{type(fault).__name__}: {fault}"[:300]}
        sys.stdout.write(json.dumps(verdict) + "\n")


if __name__ == "__main__":
    main()
