"""Fine-tuning, preference learning and reward models beside TRL: the same losses, and how many rows a second.

Prints one JSON line with hardware and commit. First both compute every loss of one batch; then both stand ready, each
in a process of its own, and take turns of an epoch over the same rows.

python benchmarks/alignment.py --trl PYTHON --model FOLDER --pairs FILE --dialogues FILE
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from measuring import ask, machine, stand_ready, tell

PEERS = Path(__file__).parent / "peers"
# TRL's names for our losses, with what is set in `peers/trl_losses.py`.
LOSSES: dict[str, tuple[str, dict[str, Any]]] = {
    "sigmoid": ("dpo", {"beta": 0.1}),
    "hinge": ("hinge", {"beta": 0.1}),
    "ipo": ("ipo", {"tau": 0.1}),
    "exo_pair": ("exo", {"beta": 0.1, "label_smoothing": 1e-3}),
    "nca_pair": ("nca", {"beta": 0.1}),
    "robust": ("robust_dpo", {"beta": 0.1, "label_smoothing": 0.1}),
    "bco_pair": ("bco", {"beta": 0.1}),
    "sppo_hard": ("sppo", {"beta": 0.1}),
    "aot": ("aot", {"beta": 0.1, "label_smoothing": 0.1}),
    "aot_unpaired": ("aot", {"beta": 0.1, "label_smoothing": 0.1, "variant": "answers"}),
    "apo_zero": ("apo_zero", {"beta": 0.1}),
    "apo_down": ("apo_down", {"beta": 0.1}),
    "discopop": ("discopop", {"beta": 0.1}),
    "sft": ("sft", {}),
    "sigmoid_norm": ("dpo", {"beta": 5.0, "per_token": True}),
    "cpo": ("cpo", {"beta": 0.1}),
    "simpo": ("simpo", {"beta": 2.0, "margin": 1.0}),
    "orpo": ("orpo", {"weight": 0.1}),
    "kto": ("kto", {"beta": 0.1}),
}
# A mean over single answers is half of that over pairs.
SHARES = {"kto": 0.5}


def parity(trl: str, folder: Path, rows: Path, scratch: Path) -> dict[str, Any]:
    """By loss how far ours is from TRL's, and the largest difference of a token's log-probability: as we train, and
    where every answer has a row of its own and positions are turned by angles rounded as transformers rounds them."""
    import torch

    from herd.align.columns import read_rows
    from herd.align.dpo import MismatchedCompletions
    from herd.align.losses import PairLogProbs, losses
    from herd.align.reward import ranking_loss
    from herd.model.heads import RewardModel
    from herd.model.weights import load_transformer
    from herd.tokens.jinja import chat_template_of
    from herd.tokens.tokenizer import TextTokenizer
    from herd.train.checkpoint import write_checkpoint
    from herd.train.preferences import PreferenceBatch, encode_preferences

    text, policy, reference = TextTokenizer.load(folder), load_transformer(folder), load_transformer(folder)
    chance = torch.Generator().manual_seed(0)
    with torch.no_grad():  # a reference of its own: at the policy itself most losses say nothing
        for weight in reference.parameters():
            weight.add_(0.02 * weight.std() * torch.randn(weight.shape, generator=chance))
    (scratch / "reference").mkdir()
    write_checkpoint(scratch / "reference", reference, text, kind="chat")
    command = [trl, str(PEERS / "trl_losses.py"), str(folder), str(scratch / "reference"), str(rows)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"TRL failed: {done.stderr[-2000:]}")
    theirs = json.loads(done.stdout.splitlines()[-1])
    ranked = encode_preferences(
        read_rows(rows).preferences, chat_template_of(text), max_seq_len=policy.shape.max_seq_len
    ).preferences
    batch = PreferenceBatch(tuple(ranked), text.pad_id, policy.shape.max_seq_len, include_eos=True)
    packed = batch.packed
    # TRL has all chosen answers first.
    ids = [one.answers[side].ids for side in (0, 1) for one in ranked]
    if ids != theirs["ids"]:
        wrong = next(n for n, (a, b) in enumerate(zip(ids, theirs["ids"], strict=False)) if a != b)
        raise SystemExit(f"answer {wrong} has other tokens in TRL: {ids[wrong][:40]} and {theirs['ids'][wrong][:40]}")
    with torch.no_grad():
        each, known = (read(model, packed) for model in (policy, reference))
        ours = [each[packed.answers_N == 2 * n + side].tolist() for side in (0, 1) for n in range(len(ranked))]
        sums = [packed.sums(one).view(-1, 2).T for one in (each, known)]
        strangers = MismatchedCompletions.of(reference, ranked, text.pad_id, include_eos=True).logratios(policy, batch)
        pairs = PairLogProbs(*sums[0], *sums[1], *packed.lengths.view(-1, 2).T, strangers)
        found = {}
        for name, (our, settings) in LOSSES.items():
            value = SHARES.get(name, 1.0) * float(losses.get(our)(pairs, **settings).mean())
            found[name] = {"herd": value, "trl": theirs["losses"][name], "off": abs(value - theirs["losses"][name])}
        judge = RewardModel.from_transformer(load_transformer(folder))
        torch.nn.init.constant_(judge.score.weight, 0.02)
        value = float(ranking_loss()(judge, batch)[0]) / len(ranked)
        found["reward"] = {"herd": value, "trl": theirs["reward"], "off": abs(value - theirs["reward"])}
    relative = max(one["off"] / max(1.0, abs(one["trl"])) for one in found.values())
    alone = [
        PreferenceBatch(
            (replace(one, answers=(one.answers[side],)),), text.pad_id, policy.shape.max_seq_len, include_eos=True
        )
        for side in (0, 1)
        for one in ranked
    ]
    with torch.no_grad():
        turn_as_transformers(policy)
        same = [read(policy, one.packed).tolist() for one in alone]
    return {
        "pairs": len(ranked),
        "log_probability_off": apart(ours, theirs["logps"]),
        "log_probability_off_alone": apart(same, theirs["logps"]),
        "largest_off": relative,
        "losses": found,
    }


def read(model: Any, packed: Any) -> Any:
    """Log-probability of every target: [N]."""
    from herd.train.log_probs import target_log_probs

    hidden_RTD = model.hidden_states(packed.tokens_RT, documents_BT=packed.attention_documents)
    return target_log_probs(hidden_RTD, model.output_weight, packed.targets_RT)


def turn_as_transformers(model: Any) -> None:
    """Frequencies from powers in fp32; ours are rounded once, from fp64."""
    import torch

    shape = model.shape
    assert shape.rope_scaling is None
    powers_E = torch.arange(0, shape.head_dim, 2).float() / shape.head_dim
    turns_TE = torch.outer(torch.arange(shape.max_seq_len).float(), 1.0 / shape.rope_theta**powers_E)
    model.cos_TE.copy_(turns_TE.cos())
    model.sin_TE.copy_(turns_TE.sin())


def apart(ours: list[list[float]], theirs: list[list[float]]) -> float:
    """The largest difference of two tokens' values."""
    return max(abs(a - b) for row, other in zip(ours, theirs, strict=True) for a, b in zip(row, other, strict=True))


def speed(trl: str, kind: str, folder: Path, rows: Path, settings: dict[str, Any], turns: int) -> dict[str, Any]:
    """Rows a second of both, turn after turn, and the most memory each took."""
    count = len(rows.read_text(encoding="utf-8").splitlines()) // settings["batch"] * settings["batch"]
    told = os.environ | {"OMP_NUM_THREADS": str(settings["cores"]), "PYTHONWARNINGS": "ignore"}
    running = {}
    for name, python in (("herd", sys.executable), ("trl", trl)):
        command = [python, str(PEERS / "alignment_steps.py"), name, kind, str(folder), str(rows), json.dumps(settings)]
        running[name], _ = stand_ready(name, command, told)
    seconds: dict[str, list[float]] = {name: [] for name in running}
    for _ in range(turns):
        for name, process in running.items():
            seconds[name].append(ask(process))
    megabytes = {name: float(process.communicate()[0]) for name, process in running.items()}
    pairs = [theirs / our for theirs, our in zip(seconds["trl"], seconds["herd"], strict=True)]
    return {
        "kind": kind,
        **settings,
        "rows": count,
        "rows_per_second": {name: round(count / statistics.median(found), 2) for name, found in seconds.items()},
        "ratio": round(statistics.median(pairs), 3),
        "megabytes": {name: round(value) for name, value in megabytes.items()},
        "raw": {name: [round(one, 3) for one in found] for name, found in seconds.items()},
    }


def trl_rows(folder: Path, file: Path, out: Path, count: int, length: int) -> Path:
    """The first `count` rows whose every answer fits into `length` tokens, in TRL's columns."""
    from herd.align.columns import read_rows
    from herd.tokens.jinja import chat_template_of
    from herd.tokens.tokenizer import TextTokenizer
    from herd.train.preferences import encode_answer

    form, given, kept = chat_template_of(TextTokenizer.load(folder)), read_rows(file), []
    for one in given.preferences:
        if all(len(encode_answer(one, answer, form)) <= length for answer in one.ranked_answers):
            row = one.to_row()
            kept.append({name: row[name] for name in ("prompt", "chosen", "rejected")})
    for one in given.conversations:
        rows = [message.to_row() for message in one.messages]
        if one.last.role == "assistant" and len(form.encode(one)) <= length:
            kept.append({"prompt": rows[:-1], "completion": rows[-1:]})
    if len(kept) < count:
        raise SystemExit(f"{file} has {len(kept)} rows of at most {length} tokens, fewer than {count}")
    out.write_text("".join(json.dumps(row) + "\n" for row in kept[:count]), encoding="utf-8")
    return out


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trl", required=True, help="a Python with trl, in an environment of its own")
    parser.add_argument("--model", type=Path, required=True, help="a chat model in Hugging Face's layout")
    parser.add_argument("--pairs", type=Path, required=True, help="preferences in any columns that herd reads")
    parser.add_argument("--dialogues", type=Path, required=True)
    parser.add_argument("--kinds", nargs="+", default=["sft", "dpo", "reward"])
    parser.add_argument("--speed-only", action="store_true", help="for templates after whose endings TRL learns more")
    parser.add_argument("--count", type=int, default=64)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--length", type=int, default=512)
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--turns", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        files = {
            kind: trl_rows(options.model, file, scratch / f"{kind}.jsonl", options.count, options.length)
            for kind, file in (("pairs", options.pairs), ("dialogues", options.dialogues))
        }
        few = scratch / "few.jsonl"
        few.write_text(
            "".join(files["pairs"].read_text(encoding="utf-8").splitlines(keepends=True)[:8]), encoding="utf-8"
        )
        compared: dict[str, Any] = {"speed": []}
        if not options.speed_only:
            compared["parity"] = parity(options.trl, options.model, few, scratch)
            tell("parity", compared["parity"])
        settings = {"batch": options.batch, "length": options.length, "cores": options.cores, "beta": 0.1}
        for kind in options.kinds:
            rows = files["dialogues" if kind == "sft" else "pairs"]
            found = speed(options.trl, kind, options.model, rows, settings, options.turns)
            tell(kind, found)
            compared["speed"].append(found)
    print(json.dumps({"benchmark": "alignment", "model": options.model.name, **compared, **machine()}))
