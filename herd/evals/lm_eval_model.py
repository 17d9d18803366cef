"""A model of ours that lm-evaluation-harness drives, in this process.

    import lm_eval
    from herd.evals.lm_eval_model import lm_eval_class
    model = lm_eval_class()("runs/tiny/artifacts/average-1f2e", dtype="fp32")
    lm_eval.simple_evaluate(model, tasks=["arc_easy"], limit=100)

Source: lm-evaluation-harness 0.4.13, `api/model.py` (`LM`) and `models/huggingface.py` (`HFLM`), whose encoding of
contexts and continuations, cut of long ones from the left and rolling windows are kept.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from herd.core.errors import HerdError
from herd.core.records import Conversation, Message
from herd.evals.encoding import continuation
from herd.evals.text_scoring import rolling_windows
from herd.generate.engine import Engine, SamplingParams, score_greedy
from herd.model.devices import place_model
from herd.model.weights import load_transformer
from herd.tokens.jinja import chat_template_of
from herd.tokens.tokenizer import TextTokenizer

DEFAULT_MAX_TOKENS = 256  # lm-eval's `max_gen_toks`


class Adapter:
    """The three kinds of requests that lm-eval makes, answered by an engine. A request has `args`."""

    def __init__(self, engine: Engine, tokenizer: TextTokenizer) -> None:
        self.engine, self.tokenizer = engine, tokenizer

    def loglikelihood(self, requests: Sequence[Any]) -> list[tuple[float, bool]]:
        """Of every (context, continuation) the log-probability in nats, and whether the model would have written it."""
        pairs = [continuation(self.tokenizer, context, text) for context, text in (each.args for each in requests)]
        context = self.engine.model.shape.max_seq_len
        # The first ids give way. HFLM keeps one more: it does not read the last id, which is only predicted.
        fitting = [(prompt[-max(1, context - len(answer)) :], answer[-(context - 1) :]) for prompt, answer in pairs]
        return score_greedy(self.engine, [prompt for prompt, _ in fitting], [answer for _, answer in fitting])

    def loglikelihood_rolling(self, requests: Sequence[Any]) -> list[float]:
        """Of every text the log-probability in nats, each token read once, with as much before it as fits."""
        first = self.tokenizer.opening or [self.tokenizer.eos_id]
        length = self.engine.model.shape.max_seq_len - 1
        totals = []
        for request in requests:
            (text,) = request.args
            windows = list(rolling_windows([*first, *self.tokenizer.encode(text)], length))
            before, after = [read for read, _ in windows], [predicted for _, predicted in windows]
            totals.append(sum(self.engine.score(before, after)) if windows else 0.0)
        return totals

    def generate_until(self, requests: Sequence[Any]) -> list[str]:
        """What the model writes after every context, up to the first of the strings under `until`."""
        prompts, params = [], []
        for context, options in (each.args for each in requests):
            sampling = sampling_of(options)
            room = self.engine.max_seq_len - sampling.max_tokens
            if room < 1:
                raise HerdError(
                    f"answers of {sampling.max_tokens} tokens leave no room for a prompt in {self.engine.max_seq_len}; "
                    "give max_gen_toks"
                )
            prompts.append([*self.tokenizer.opening, *self.tokenizer.encode(context)][-room:])
            params.append(sampling)
        outputs = self.engine.generate(prompts, params)
        return [
            output.text if isinstance(output.stop_reason, str) else self.tokenizer.decode(output.token_ids)
            for output in outputs
        ]

    def apply_chat_template(self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True) -> str:
        """The conversation as the model's chat template writes it, without what begins every text."""
        messages = tuple(Message.from_row(row) for row in chat_history)
        prefix = ""
        if not add_generation_prompt and messages and messages[-1].role == "assistant":
            messages, prefix = messages[:-1], messages[-1].content
        ids = chat_template_of(self.tokenizer).encode_prompt(Conversation(messages))
        opening = self.tokenizer.opening
        ids = ids[len(opening) :] if opening and ids[: len(opening)] == opening else ids
        return self.tokenizer.show(ids) + prefix


def sampling_of(options: Mapping[str, Any]) -> SamplingParams:
    """lm-eval's `generation_kwargs` as ours. Source: `normalize_gen_kwargs`."""
    until = options.get("until") or ()
    stop = (until,) if isinstance(until, str) else tuple(until)
    tokens = next((options[name] for name in ("max_gen_toks", "max_new_tokens", "max_tokens") if options.get(name)), 0)
    samples = bool(options.get("do_sample", float(options.get("temperature") or 0) > 0))
    return SamplingParams(
        max_tokens=int(tokens) or DEFAULT_MAX_TOKENS,
        temperature=float(options.get("temperature") or 1.0) if samples else 0.0,
        top_p=float(options.get("top_p", 1.0)),
        top_k=int(options.get("top_k") or 0),
        stop=tuple(text for text in stop if text),
    )


def lm_eval_class(base: type[Any] | None = None) -> type[Any]:
    """The class of models that lm-eval takes. base: what it derives from, lm-eval's `LM` when absent.

    Raises HerdError when lm-eval is not installed.
    """
    if base is None:
        try:
            from lm_eval.api.model import LM  # pyright: ignore[reportMissingImports]
        except ImportError:
            raise HerdError("lm-eval is not installed; pip install lm-eval") from None
        base = LM
    parent: Any = base

    class HerdLM(Adapter, parent):
        """The model in a folder. device, dtype: where and how it runs."""

        def __init__(self, pretrained: str, device: str = "auto", dtype: str = "fp32", **unused: Any) -> None:
            parent.__init__(self)
            folder = Path(pretrained)
            tokenizer = TextTokenizer.load(folder)
            network = place_model(load_transformer(folder), device, dtype)
            Adapter.__init__(self, Engine(network, tokenizer.stop_token_ids, tokenizer=tokenizer), tokenizer)
            self.pretrained = pretrained

        @property
        def tokenizer_name(self) -> str:
            return self.pretrained.replace("/", "__")

        def chat_template(self, chat_template: bool | str = False) -> str:
            return (self.tokenizer.template or "") if chat_template else ""

    return HerdLM
