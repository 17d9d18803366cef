"""TRL's losses and log-probabilities of one batch, in JSON: `trl_losses.py POLICY REFERENCE ROWS`.

POLICY, REFERENCE: models in Hugging Face's layout. ROWS: JSON lines with prompt, chosen and rejected. Runs in an
environment with trl.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
import transformers
from datasets import Dataset
from trl import DPOConfig, DPOTrainer, KTOConfig, KTOTrainer, RewardConfig, RewardTrainer

USUAL = {"output_dir": tempfile.gettempdir(), "use_cpu": True, "bf16": False, "report_to": [], "disable_tqdm": True}
# By TRL's name: what is set for it. CPO and ORPO have trainers of their own, below.
LOSSES: dict[str, dict[str, float]] = {
    "sigmoid": {"beta": 0.1},
    "hinge": {"beta": 0.1},
    "ipo": {"beta": 0.1},
    "exo_pair": {"beta": 0.1, "label_smoothing": 1e-3},
    "nca_pair": {"beta": 0.1},
    "robust": {"beta": 0.1, "label_smoothing": 0.1},
    "bco_pair": {"beta": 0.1},
    "sppo_hard": {"beta": 0.1},
    "aot": {"beta": 0.1, "label_smoothing": 0.1},
    "aot_unpaired": {"beta": 0.1, "label_smoothing": 0.1},
    "apo_zero": {"beta": 0.1},
    "apo_down": {"beta": 0.1},
    "discopop": {"beta": 0.1},
    "sft": {"beta": 0.1},
    "sigmoid_norm": {"beta": 5.0},
}


def main(policy: str, reference: str, rows: str) -> dict[str, Any]:
    transformers.logging.set_verbosity_error()
    given = [json.loads(line) for line in Path(rows).read_text(encoding="utf-8").splitlines()]
    data, tokenizer = Dataset.from_list(given), transformers.AutoTokenizer.from_pretrained(policy)
    sizes = {"per_device_train_batch_size": len(given), "max_length": None, "dataloader_drop_last": False}

    def load(folder: str) -> Any:
        return transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)

    config = DPOConfig(**USUAL, **sizes, train_sampling_strategy="sequential")
    made = DPOTrainer(load(policy), load(reference), config, train_dataset=data, processing_class=tokenizer)
    inputs = next(iter(made.get_train_dataloader()))
    found: dict[str, Any] = {"losses": {}, "ids": [], "logps": []}
    kept = inputs["attention_mask"].bool()
    found["ids"] = [row[some].tolist() for row, some in zip(inputs["input_ids"], kept, strict=True)]
    for name, values in LOSSES.items():
        made.loss_types = [name]
        made.beta, made.label_smoothing = values["beta"], values.get("label_smoothing", 0.0)
        found["losses"][name] = float(made._compute_loss(made.model, dict(inputs), False))
    mask = inputs["completion_mask"][:, 1:].bool()
    labels = inputs["input_ids"].masked_fill(inputs["completion_mask"] == 0, -100)
    extra = {key: inputs[key] for key in ("input_ids", "attention_mask")}
    with torch.no_grad():
        each = made.model(**extra, labels=labels, fused_lm_head=True, use_cache=False).log_probs[:, -mask.shape[1] :]
    found["logps"] = [row[some].tolist() for row, some in zip(each, mask, strict=True)]
    found["losses"] |= free_of_reference(each, mask)
    found["losses"]["kto"] = kto(load(policy), load(reference), given, tokenizer)
    found["reward"] = reward(policy, data, tokenizer, sizes)
    return found


def free_of_reference(each: torch.Tensor, mask: torch.Tensor) -> dict[str, float]:
    """The losses of TRL's CPO and ORPO trainers, whose functions take log-probabilities alone."""
    from types import SimpleNamespace

    from trl.experimental.cpo.cpo_trainer import CPOTrainer
    from trl.experimental.orpo.orpo_trainer import ORPOTrainer

    sums, counts = (each * mask).sum(-1), mask.sum(-1)
    stand_in = {"accelerator": SimpleNamespace(device="cpu"), "alpha": 0.0, "label_smoothing": 0.0}
    cpo = SimpleNamespace(**stand_in, beta=0.1, loss_type="sigmoid")
    simpo = SimpleNamespace(**stand_in, beta=2.0, loss_type="simpo", simpo_gamma=1.0)
    orpo = SimpleNamespace(**stand_in, beta=0.1)
    means = sums / counts
    return {
        "cpo": float(CPOTrainer.cpo_loss(cpo, *sums.chunk(2))[0].mean()),
        "simpo": float(CPOTrainer.cpo_loss(simpo, *means.chunk(2))[0].mean()),
        "orpo": -float(ORPOTrainer.odds_ratio_loss(orpo, *means.chunk(2))[0].mean()),
    }


def kto(policy: Any, reference: Any, given: list[dict[str, Any]], tokenizer: Any) -> float:
    """TRL's loss of the answers one by one, all of them in a batch: chosen ones first, then rejected ones."""
    rows = [
        {"prompt": row["prompt"], "completion": row[side], "label": side == "chosen"}
        for side in ("chosen", "rejected")
        for row in given
    ]
    sizes = {"per_device_train_batch_size": len(rows), "max_length": None, "dataloader_drop_last": False}
    config = KTOConfig(**USUAL, **sizes, beta=0.1, train_sampling_strategy="sequential")
    data = Dataset.from_list(rows)
    made = KTOTrainer(policy, reference, config, train_dataset=data, processing_class=tokenizer)
    return float(made._compute_loss(made.model, next(iter(made.get_train_dataloader())), False))


def reward(policy: str, data: Any, tokenizer: Any, sizes: dict[str, Any]) -> float:
    """The loss of a reward model with the policy's states and a head of equal weights."""
    named = transformers.AutoModelForSequenceClassification
    model = named.from_pretrained(policy, num_labels=1, dtype=torch.float32)
    model.config.pad_token_id = tokenizer.pad_token_id
    torch.nn.init.constant_(model.score.weight, 0.02)
    config = RewardConfig(**USUAL, **sizes)
    made = RewardTrainer(model, args=config, train_dataset=data, processing_class=tokenizer)
    return float(made.compute_loss(made.model, next(iter(made.get_train_dataloader()))))


if __name__ == "__main__":
    print(json.dumps(main(*sys.argv[1:])))
