"""Reward training with a prompt and all its answers in one row, beside a row for each answer: rows a second, in turns.

Prints one JSON line with hardware and commit. The longer prompts are beside answers, and the more answers a prompt has,
the more there is to gain: a prompt is read once in the place of once an answer.

python benchmarks/reward_packing.py --model FOLDER --pairs FILE
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path

import torch
from measuring import machine, tell

from herd.align.columns import read_rows
from herd.align.reward import ranking_loss
from herd.model.heads import RewardModel
from herd.model.weights import load_transformer
from herd.tokens.jinja import chat_template_of
from herd.tokens.tokenizer import TextTokenizer
from herd.train.preferences import PreferenceBatches, encode_preferences

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, help="a chat model in Hugging Face's layout")
    parser.add_argument("--pairs", type=Path, required=True, help="preferences in any columns that herd reads")
    parser.add_argument("--count", type=int, default=64)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--length", type=int, default=1024)
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--turns", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(options.cores)
    text, model = TextTokenizer.load(options.model), RewardModel.from_transformer(load_transformer(options.model))
    given = read_rows(options.pairs).preferences
    # Those that fit into one row, so that both read the same.
    shared = encode_preferences(given, chat_template_of(text), context=options.length, share_prompt=True).preferences[
        : options.count
    ]
    ranked = encode_preferences(
        [given[one.row] for one in shared], chat_template_of(text), context=options.length
    ).preferences
    loss, seconds = ranking_loss(), {"apart": [], "together": []}
    for turn in range(options.turns + 1):
        for name, rows in (("apart", ranked), ("together", shared)):
            batches = PreferenceBatches(
                rows,
                size=options.batch,
                epochs=1,
                seed=0,
                pad=text.pad_id,
                length=options.length,
                share_prompt=rows is shared,
            )
            began = time.perf_counter()
            for step in range(len(batches)):
                loss(model, batches.batch(step))[0].backward()
                model.zero_grad()
            if turn:  # the first warms up
                seconds[name].append(time.perf_counter() - began)
        tell(f"turn {turn}", {name: found[-1:] for name, found in seconds.items()})
    prompts, answers = sum(one.prompt for one in shared), sum(one.shared_tokens - one.prompt for one in shared)
    found = {
        "rows": len(shared),
        "prompt_tokens": prompts / len(shared),
        "answer_tokens": answers / len(shared),
        "rows_per_second": {name: len(shared) / statistics.median(each) for name, each in seconds.items()},
        "ratio": statistics.median(a / b for a, b in zip(seconds["apart"], seconds["together"], strict=True)),
        "raw": seconds,
    }
    settings = {"batch": options.batch, "length": options.length, "threads": options.cores}
    print(json.dumps({"benchmark": "reward_packing", "model": options.model.name, **settings, **found, **machine()}))
