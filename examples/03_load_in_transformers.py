"""A model made here loads in transformers, with the same logits."""

import tempfile
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM

from herd.model.sizes import Shape
from herd.model.transformer import Transformer, initialize
from herd.model.weights import save_model

if __name__ == "__main__":
    shape = Shape(vocabulary=320, width=64, layers=4, heads=8, kv_heads=2, hidden=160, context=128)
    ours = Transformer(shape).eval()
    initialize(ours, std=0.1, layers=shape.layers, generator=torch.Generator().manual_seed(0))
    tokens = torch.randint(0, shape.vocabulary, (2, 100), generator=torch.Generator().manual_seed(1))
    with tempfile.TemporaryDirectory() as scratch, torch.inference_mode():
        save_model(Path(scratch), ours, begin=0, stops=[1], pad=2)
        theirs = AutoModelForCausalLM.from_pretrained(scratch, dtype=torch.float32)
        difference = (ours(tokens) - theirs(tokens).logits).abs().max().item()
    print(f"{shape.weights:,} weights, largest difference of logits {difference:.1e}")
