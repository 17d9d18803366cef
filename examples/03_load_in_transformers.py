"""A model made here loads in transformers, with the same logits."""

import tempfile
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM

from herd.model.sizes import Shape
from herd.model.transformer import Transformer, initialize
from herd.model.weights import save_model

if __name__ == "__main__":
    shape = Shape(vocab_size=320, dim=64, n_layers=4, n_heads=8, n_kv_heads=2, ffn_dim=160, max_seq_len=128)
    ours = Transformer(shape).eval()
    initialize(ours, std=0.1, layers=shape.n_layers, generator=torch.Generator().manual_seed(0))
    tokens = torch.randint(0, shape.vocab_size, (2, 100), generator=torch.Generator().manual_seed(1))
    with tempfile.TemporaryDirectory() as scratch, torch.inference_mode():
        save_model(Path(scratch), ours, bos_token_id=0, eos_token_ids=[1], pad_token_id=2)
        theirs = AutoModelForCausalLM.from_pretrained(scratch, dtype=torch.float32)
        difference = (ours(tokens) - theirs(tokens).logits).abs().max().item()
    print(f"{shape.num_params:,} weights, largest difference of logits {difference:.1e}")
