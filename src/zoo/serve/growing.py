"""Texts that grow together: `complete`, a token of every text a step.

A text joins when a row and room for its keys and values are free, oldest job first, and leaves when
it is done; zoo.generate.continuous sees to it that none notices the others.
"""

from collections import deque
from dataclasses import dataclass
from typing import Any

from zoo.generate import Sampling
from zoo.generate.continuous import Continuous, Taken
from zoo.generate.request import Request, ids_of, make_requests
from zoo.serve.job import Job
from zoo.serve.limits import Limits
from zoo.serve.refusal import Refusal
from zoo.serve.skills import check_length
from zoo.serve.tally import Tally
from zoo.tasks import Generator

COPIED = ("temperature", "top_p", "top_k", "min_p", "repetition_penalty")
SEEDS = 2**64


@dataclass
class Choice:
    """One text of a job, as far as it has come."""

    place: int  # among the job's choices
    request: Request
    prefix: str  # what `echo` puts before it
    logprobs: dict[str, list[Any]] | None
    told: int = 0  # tokens
    shown: int = 0  # characters

    def record(self) -> dict[str, Any]:
        """Give it as an answer's choice."""
        request = self.request
        shown = "" if request.text is None else request.text.shown
        return {
            "text": self.prefix + shown,
            "finish": request.finish,
            "tokens": request.ids,
            "logprobs": self.logprobs,
        }


@dataclass
class Text:
    """A job for texts; `left` of its choices are not done."""

    job: Job
    choices: list[Choice]
    left: int = 0
    over: bool = False
    prompt_tokens: int = 0

    def __post_init__(self) -> None:
        self.left = len(self.choices)


class Growing:
    """A crew for `complete`; see zoo.serve.engine.Crew."""

    verbs: tuple[str, ...] = ("complete",)

    def __init__(self, task: Generator, limits: Limits) -> None:
        self.task = task
        self.limits = limits
        self.batch = Continuous(task.model, rows=limits.rows)
        self.texts: dict[int, Text] = {}
        self.waiting: deque[tuple[Text, Choice]] = deque()
        self.rows: dict[int, tuple[Text, Choice]] = {}  # by the id of their request
        self.tally = Tally()

    @property
    def busy(self) -> bool:
        return bool(self.texts)

    def read(self, job: Job) -> Text:
        """Check a job; `n` choices of a prompt draw with seeds that follow each other."""
        body, tokenizer = job.body, self.task.tokenizer
        prompts, n = body["prompts"], body.get("n") or 1
        if not prompts or len(prompts) * n > self.limits.batch:
            asked = f"{len(prompts)} prompts with {n} choices each"
            why = f"{asked}: expected 1 to {self.limits.batch} texts in a request"
            raise Refusal("invalid", why, param="prompt")
        if body.get("echo") and body.get("logprobs") is not None:
            why = "echo and logprobs together: there are none of the prompt's tokens; ask for one"
            raise Refusal("invalid", why, param="echo")
        choices, tokens = [], 0
        for i, prompt in enumerate(prompts):
            check_length(prompt, self.task.model.config.context, f"prompt {i}", "prompt")
            ids = ids_of(prompt, tokenizer, i)
            tokens += len(ids)
            for k in range(n):
                options = self.sampling(body, ids, (body["seed"] + i * n + k) % SEEDS)
                (request,) = make_requests(self.task.model, [ids], [options], tokenizer)
                prefix = self.prefix(prompt) if body.get("echo") else ""
                logprobs = None if body.get("logprobs") is None else empty_logprobs()
                choices.append(Choice(i * n + k, request, prefix, logprobs))
        return Text(job, choices, prompt_tokens=tokens)

    def sampling(self, body: dict[str, Any], ids: list[int], seed: int) -> Sampling:
        asked = {name: body[name] for name in COPIED if body.get(name) is not None}
        context = self.task.model.config.context
        most = body.get("max_tokens")
        if most is None:
            most = max(1, context - len(ids))
        if len(ids) + most > context:
            why = f"the prompt has {len(ids)} tokens and max_tokens is {most}, more than the "
            why += f"{context} that this model reads: shorten the prompt or ask for fewer"
            raise Refusal("invalid", why, param="max_tokens" if len(ids) < context else "prompt")
        stops = tuple(body.get("stop") or ())
        return Sampling(**asked, max_new_tokens=most, stop_strings=stops, seed=seed)

    def prefix(self, prompt: Any) -> str:
        return prompt if isinstance(prompt, str) else self.task.tokenizer.decode(prompt)

    def add(self, work: Text) -> None:
        self.texts[work.job.id] = work
        self.waiting.extend((work, choice) for choice in work.choices)

    def drop(self, refuse: Any) -> None:
        for text in list(self.texts.values()):
            refusal = refuse(text.job)
            if refusal is not None:
                self.end(text, refusal.record())

    def end(self, text: Text, event: dict[str, Any]) -> None:
        """Tell the last event of a job; what still grows of it leaves."""
        text.over = True
        del self.texts[text.job.id]
        for choice in text.choices:
            if self.rows.pop(id(choice.request), None) and choice.request.finish is None:
                self.batch.leave(choice.request)
        if text.left:
            self.waiting = deque(pair for pair in self.waiting if not pair[0].over)
        text.job.tell(event)

    @property
    def held(self) -> int:
        """Count the tokens that there is, or will be, room for."""
        rows = list(self.rows.values())  # at once: another thread asks while texts come and go
        return sum(room(choice.request) for _, choice in rows)

    def step(self) -> None:
        self.admit()
        taken = self.batch.advance()
        self.tally.step(len(taken))
        for one in taken:
            text, choice = self.rows.get(id(one.request), (None, None))
            if text is not None and choice is not None:  # else its job ended in this step
                self.take(text, choice, one)

    def admit(self) -> None:
        """Let texts join while rows are free and their keys and values fit."""
        while self.waiting and len(self.rows) < self.limits.rows:
            text, choice = self.waiting[0]
            request = choice.request
            if self.rows and self.held + room(request) > self.limits.cache_tokens:
                return
            self.waiting.popleft()
            self.rows[id(request)] = (text, choice)
            self.tally.prompt_tokens += len(request.prompt)
            self.batch.join(request, top=text.job.body.get("logprobs") or 0)

    def take(self, text: Text, choice: Choice, one: Taken) -> None:
        """Take in a row's next token; tell it, and the answer when it was the last."""
        if one.error is not None:
            self.end(text, Refusal("broken", one.error).record())
            return
        self.tally.new_tokens += 1
        request = choice.request
        before = choice.prefix if choice.told == 0 else ""
        logprobs = None if choice.logprobs is None else self.note(choice.logprobs, choice, one)
        choice.told += 1
        choice.shown += len(one.piece)
        # a step may give two tokens of a text, of which the first is not the last
        finish = request.finish if choice.told == len(request.ids) else None
        if finish is not None:
            del self.rows[id(request)]
            text.left -= 1
        if text.job.body.get("stream"):
            piece = {"is": "piece", "choice": choice.place, "text": before + one.piece}
            told = {"tokens": [one.token], "finish": finish, "logprobs": logprobs}
            text.job.tell(piece | told)
        if text.left == 0:
            self.end(text, {"is": "done", "answer": answer(text)})

    def note(self, kept: dict[str, list[Any]], choice: Choice, one: Taken) -> dict[str, list[Any]]:
        """Write down what `logprobs` asks for; give it for this token alone."""
        fresh: dict[str, list[Any]] = {
            "tokens": [self.name(one.token)],
            "token_logprobs": [one.logprob],
            "top_logprobs": [{self.name(token): logprob for token, logprob in one.top}],
            "text_offset": [choice.shown],
        }
        for name, values in fresh.items():
            kept[name] += values
        return fresh

    def name(self, token: int) -> str:
        return self.task.tokenizer.decode([token], skip_special=False)

    def stats(self) -> dict[str, Any]:
        gauges = {"waiting": len(self.waiting), "rows": len(self.rows)}
        gauges |= {"cache_tokens": self.held, "cache_limit": self.limits.cache_tokens}
        return gauges | self.tally.record()


def room(request: Request) -> int:
    """Count the tokens whose keys and values a text may come to hold."""
    return len(request.prompt) + request.options.max_new_tokens - 1


def empty_logprobs() -> dict[str, list[Any]]:
    return {"tokens": [], "token_logprobs": [], "top_logprobs": [], "text_offset": []}


def answer(text: Text) -> dict[str, Any]:
    """Give a job's answer when all of its texts are done."""
    return {
        "choices": [choice.record() for choice in text.choices],
        "prompt_tokens": text.prompt_tokens,
        "new_tokens": sum(len(choice.request.ids) for choice in text.choices),
    }
