"""An epoch of fine-tuning by one program: `alignment_steps.py herd|trl sft|dpo|reward FOLDER ROWS SETTINGS`.

FOLDER: a model in Hugging Face's layout. ROWS: JSON lines in TRL's columns. SETTINGS: JSON with batch, beta and length.
For every line on standard input it goes over all rows once and prints the seconds, and at the end what memory it took.
TRL's steps are its trainers' own, in the plain loop that costs least around them.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

Epoch = Callable[[], Any]
EPOCHS = 200  # more than are asked for


def herd(kind: str, folder: Path, rows: Path, settings: dict[str, Any]) -> Epoch:
    from herd.align.columns import read_rows
    from herd.align.dpo import objective, reference_log_probs
    from herd.align.losses import losses
    from herd.align.reward import ranking_loss
    from herd.model.heads import RewardModel
    from herd.model.weights import load_transformer
    from herd.run.executors import LocalExecutor
    from herd.tokens.jinja import chat_template_of
    from herd.tokens.tokenizer import TextTokenizer
    from herd.train.checkpoint import TrainState
    from herd.train.dialogues import DialogueBatches
    from herd.train.loop import single_device, train_steps
    from herd.train.objectives import next_token_loss
    from herd.train.optimizer import AdamWSettings, adamw
    from herd.train.preferences import PreferenceBatches, encode_preferences

    text, given = TextTokenizer.load(folder), read_rows(rows)
    form, batch, length = chat_template_of(text), settings["batch"], settings["length"]
    model: Any = (
        RewardModel.from_transformer(load_transformer(folder)) if kind == "reward" else load_transformer(folder)
    )
    batches: Any
    if kind == "sft":
        # Rows that hold as many dialogues together as the others have in a step.
        tokens = sum(len(form.encode(one)) for one in given.conversations) / len(given.conversations)
        size = max(2, round(batch * tokens / length))
        batches = DialogueBatches(
            given.conversations, form, length=length, rows=size, epochs=EPOCHS, seed=0, pad=text.pad_id
        )
        per_epoch, loss = len(batches) // EPOCHS, next_token_loss
    else:
        ranked = encode_preferences(given.preferences, form, context=length).preferences
        context = model.shape.max_seq_len
        batches = PreferenceBatches(
            ranked,
            size=batch,
            epochs=EPOCHS,
            seed=0,
            pad=text.pad_id,
            length=context,
            include_eos=True,
            share_prompt=settings.get("share_prompt", False),
        )
        per_epoch = batches.per_epoch
        loss = ranking_loss()
        if kind == "dpo":
            reference = reference_log_probs(model, ranked, text.pad_id, include_eos=True)
            loss = objective(losses.make(losses.configure("dpo", beta=settings["beta"])), reference, 0.0)
    workers = torch.get_num_threads()
    torch.set_num_threads(1)
    state = TrainState(model, adamw(model, AdamWSettings(weight_decay=0.0)))
    hands = single_device(state, LocalExecutor(lambda: workers))
    going = train_steps(state, batches, loss_fn=loss, lr_schedule=lambda step: 1e-6, max_grad_norm=1.0, strategy=hands)
    return lambda: [next(going).loss for _ in range(per_epoch)][-1]


def trl(kind: str, folder: Path, rows: Path, settings: dict[str, Any]) -> Epoch:
    import transformers
    from datasets import Dataset
    from trl import DPOConfig, DPOTrainer, RewardConfig, RewardTrainer, SFTConfig, SFTTrainer

    transformers.logging.set_verbosity_error()
    data = Dataset.from_list([json.loads(line) for line in rows.read_text(encoding="utf-8").splitlines()])
    named = transformers.AutoModelForCausalLM
    one_label = {}
    if kind == "reward":
        named, one_label = transformers.AutoModelForSequenceClassification, {"num_labels": 1}
    model = named.from_pretrained(folder, dtype=torch.float32, **one_label)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model.config.pad_token_id = tokenizer.pad_token_id
    usual = {
        "output_dir": tempfile.gettempdir(),
        "per_device_train_batch_size": settings["batch"],
        "max_length": settings["length"],
        "use_cpu": True,
        "bf16": False,
        "learning_rate": 1e-6,
        "report_to": [],
        "save_strategy": "no",
        "gradient_checkpointing": False,
        "dataloader_drop_last": True,
        "disable_tqdm": True,
    }
    made: Any
    if kind == "sft":
        made = SFTTrainer(model, SFTConfig(**usual), train_dataset=data, processing_class=tokenizer)
    elif kind == "dpo":
        config = DPOConfig(**usual, beta=settings["beta"], precompute_ref_log_probs=True)
        made = DPOTrainer(model, args=config, train_dataset=data, processing_class=tokenizer)
    else:
        made = RewardTrainer(model, args=RewardConfig(**usual), train_dataset=data, processing_class=tokenizer)
    loader = made.get_train_dataloader()
    made.create_optimizer()
    made.current_gradient_accumulation_steps = 1  # what its own loop sets
    made.model.train()

    def epoch() -> float:
        for inputs in loader:
            loss = made.training_step(made.model, inputs)
            torch.nn.utils.clip_grad_norm_(made.model.parameters(), 1.0)
            made.optimizer.step()
            made.optimizer.zero_grad()
        return float(loss)

    return epoch


if __name__ == "__main__":
    program, kind, folder, rows, words = sys.argv[1:]
    torch.manual_seed(0)
    run = {"herd": herd, "trl": trl}[program](kind, Path(folder), Path(rows), json.loads(words))
    run()
    print(json.dumps({"ready": os.getpid()}), flush=True)
    for _ in sys.stdin:
        began = time.perf_counter()
        run()
        print(time.perf_counter() - began, flush=True)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, flush=True)
