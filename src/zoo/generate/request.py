"""One prompt on its way: what it asks for, what it has drawn so far."""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Bool
from torch import Tensor, nn

from zoo.generate.options import Finish, Generation, Sampling
from zoo.generate.stops import StopStrings
from zoo.tokenizers import Detokenizer, Tokenizer

Prompt = str | Sequence[int]


class Text:
    """Ids in, text out: whole characters, up to the first stop string."""

    def __init__(self, tokenizer: Tokenizer, stop_strings: Sequence[str]) -> None:
        self.characters = Detokenizer(tokenizer)
        self.stops = StopStrings(stop_strings)
        self.shown = ""

    def push(self, token: int) -> str:
        return self.show(self.stops.push(self.characters.push(token)))

    def end(self) -> str:
        """Give what was held back for characters or stop strings that did not come."""
        last = self.stops.push(self.characters.flush())
        return self.show(last + self.stops.flush())

    def show(self, piece: str) -> str:
        self.shown += piece
        return piece


class Request:
    """A prompt, its options, its own generator, and what came out so far."""

    def __init__(
        self, prompt: list[int], options: Sampling, tokenizer: Tokenizer | None, vocab: int
    ) -> None:
        self.prompt = prompt
        self.options = options
        self.tokenizer = tokenizer
        eos = tokenizer.eos_id if tokenizer is not None else None
        usual: Sequence[int] = () if eos is None else (eos,)
        self.stop_tokens = usual if options.stop_tokens is None else options.stop_tokens
        # a table padded beyond the tokenizer has ids that mean no text: they are never chosen
        self.choices = vocab if tokenizer is None else min(vocab, tokenizer.vocab_size)
        self.generator = torch.Generator().manual_seed(options.seed)
        self.seen = torch.zeros(vocab, dtype=torch.bool)
        self.seen[prompt] = True
        self.text = self.new_text()
        self.ids: list[int] = []
        self.logprob = 0.0
        self.drafted = self.accepted = 0  # tokens
        self.finish: Finish | None = None

    def new_text(self) -> Text | None:
        return None if self.tokenizer is None else Text(self.tokenizer, self.options.stop_strings)

    def take(self, token: int, logprob: float) -> str:
        """Take in the next token; give the text that it lets out."""
        self.ids.append(token)
        self.logprob += logprob
        self.seen[token] = True
        if token in self.stop_tokens:
            self.finish = "stop"
            return self.text.end() if self.text is not None else ""
        piece = self.text.push(token) if self.text is not None else ""
        if self.text is not None and self.text.stops.hit:
            self.finish = "stop"
        elif len(self.ids) == self.options.max_new_tokens:
            piece += self.text.end() if self.text is not None else ""
            self.finish = "stop" if self.text is not None and self.text.stops.hit else "length"
        return piece

    def result(self) -> Generation:
        assert self.finish is not None
        text = None if self.text is None else self.text.shown
        return Generation(self.ids, text, self.finish, self.logprob, self.drafted, self.accepted)


def make_requests(
    model: nn.Module,
    prompts: Sequence[Prompt],
    options: Sampling | Sequence[Sampling],
    tokenizer: Tokenizer | None,
) -> list[Request]:
    """Check everything that was asked for. Raises ValueError or TypeError naming the fix."""
    check_model(model)
    if isinstance(prompts, str):
        raise TypeError("prompts is one string; pass a list: [prompt]")
    if prompts and isinstance(prompts[0], int):
        raise TypeError("prompts is one row of ids; pass a list of rows: [ids]")
    each = [options] * len(prompts) if isinstance(options, Sampling) else list(options)
    if len(each) != len(prompts):
        raise ValueError(f"{len(each)} options for {len(prompts)} prompts; expected one a prompt")
    config: Any = model.config
    requests = []
    for i, (prompt, asked) in enumerate(zip(prompts, each, strict=True)):
        ids = ids_of(prompt, tokenizer, i)
        check_fit(len(ids), asked.max_new_tokens, config.context, i)
        wrong = [token for token in ids if not 0 <= token < config.vocab]
        if wrong:
            raise ValueError(
                f"prompt {i} holds {wrong[0]}; this vocabulary has ids 0 to {config.vocab - 1}: "
                "use the tokenizer that the model was trained with"
            )
        if asked.stop_strings and tokenizer is None:
            raise ValueError("stop_strings need text: pass tokenizer=...")
        requests.append(Request(ids, asked, tokenizer, config.vocab))
    return requests


def check_model(model: nn.Module, what: str = "") -> None:
    if not hasattr(model, "new_cache") or getattr(model, "head_name", "lm") != "lm":
        head = getattr(model, "head_name", None)
        raise ValueError(
            f"{what}{type(model).__name__} with head {head!r} does not generate: "
            "expected a decoder with head='lm', such as GPT2"
        )


def ids_of(prompt: Prompt, tokenizer: Tokenizer | None, i: int) -> list[int]:
    """Give a prompt's ids; an empty one begins with the tokenizer's bos or eos."""
    if isinstance(prompt, str):
        if tokenizer is None:
            raise ValueError(f"prompt {i} is text: pass tokenizer=..., or ids")
        prompt = tokenizer.encode(prompt)
    if len(prompt):
        return [int(token) for token in prompt]
    for start in (tokenizer.bos_id, tokenizer.eos_id) if tokenizer is not None else ():
        if start is not None:
            return [start]
    raise ValueError(
        f"prompt {i} is empty: pass at least one id, or a tokenizer that has a bos or eos token"
    )


def check_fit(tokens: int, new: int, context: int, i: int, whose: str = "the context") -> None:
    if tokens + new <= context:
        return
    fixes = []
    if tokens < context:
        fixes.append(f"pass max_new_tokens={context - tokens}")
    if new < context:
        fixes.append(f"keep the last {context - new} tokens of the prompt")
    raise ValueError(
        f"prompt {i} has {tokens} tokens and max_new_tokens is {new}, more than {whose} "
        f"{context}: {' or '.join(fixes) or 'ask for less'}"
    )


def seen_rows(requests: Sequence[Request], device: torch.device) -> Bool[Tensor, "b v"]:
    """Stack which tokens each request has seen."""
    return torch.stack([request.seen for request in requests]).to(device)
