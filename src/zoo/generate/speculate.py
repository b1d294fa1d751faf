"""Speculative decoding: several tokens a step, and the text of one token a step.

A drafter guesses the next tokens of a row; the model reads them all at once and gives the logits
of every place. The row then chooses place by place, as it would have without a draft: from the
model's logits, with its own options and the next number of its own generator. It goes on for as
long as its choice is the token that was drafted, for only then were the next place's logits those
of its text; the rest of the draft is taken back. A round yields one token more than were accepted.

Why nothing changes: the drafts decide which logits are looked at, never what is chosen from them.
So the tokens are those of `run` without a draft, for every option and seed, up to what rounding
does to the logits: a product of several rows may be added up in another order than that of one,
which moves a choice only where two tokens are as near as that (in float64, in effect, never).

What it costs: the schemes of Leviathan et al. (2023, arXiv:2211.17192) and Chen et al. (2023,
arXiv:2302.01318) keep the distribution but not the text. They accept a token drawn from q with
probability sum_x min(p(x), q(x)), the most that any scheme can. An n-gram's draft is certain, q is
one at one token: there the most is p of that token, which is what is accepted here. A draft model
draws with the row's own numbers by the same inversion of the cumulative sums; it meets the model's
choice where the two cut the same number to the same token, which is at most as often. Without
temperature the schemes are one.
"""

from collections.abc import Iterator, Sequence

from jaxtyping import Float
from torch import Tensor, nn

from zoo.generate import sample
from zoo.generate.choose import choose
from zoo.generate.drafts import DraftModel, NGram, drafter_of
from zoo.generate.reader import Reader
from zoo.generate.request import Request


def run(
    model: nn.Module, rows: list[Request], plan: NGram | DraftModel
) -> Iterator[tuple[Request, str]]:
    """Decode a batch to its end by drafts; give each row's text as tokens come."""
    longest = max(len(row.prompt) for row in rows)
    capacity = longest + max(row.options.max_new_tokens for row in rows) - 1
    drafter = drafter_of(plan, len(rows), capacity)
    reader = Reader(model, len(rows), capacity)
    fresh = [row.prompt for row in rows]
    paces = [1] * len(rows)  # how many tokens are worth drafting
    while True:
        # of the tokens that are still asked for the last is not read; nor may one row's draft
        # push the longest out of the columns that there are
        room = capacity - reader.longest - max(map(len, fresh))
        asked = [row.options.max_new_tokens - len(row.ids) - 1 for row in rows]
        most = [min(room, drafter.tokens, *pair) for pair in zip(asked, paces, strict=True)]
        drafts = drafter.propose(rows, most)
        read = [ids + draft for ids, draft in zip(fresh, drafts, strict=True)]
        logits = reader.read(read, 1 + max(map(len, drafts)))
        before = [len(row.ids) for row in rows]
        yield from verify(logits, rows, drafts)
        taken = [len(row.ids) - count for row, count in zip(rows, before, strict=True)]
        # the last token that a row took was not read as such, even when the draft had it
        reader.forget([1 + len(draft) - n for draft, n in zip(drafts, taken, strict=True)])
        paces = [pace(*told) for told in zip(paces, drafts, taken, strict=True)]
        alive = [i for i, row in enumerate(rows) if row.finish is None]
        if not alive:
            return
        if len(alive) < len(rows):
            reader.keep(alive)
            drafter.keep(alive)
            rows, paces = [rows[i] for i in alive], [paces[i] for i in alive]
        fresh = [row.ids[-1:] for row in rows]


def pace(before: int, draft: list[int], taken: int) -> int:
    """Give the length of the next draft: twice as much after a good one, else what was good.

    A wrong draft is read for nothing. On CPUs reading a few tokens at once costs a tenth more than
    one and reading eight twice to three times as much, so a row must earn a long draft.
    """
    if not draft:
        return before
    good = taken - 1
    return 2 * good if good == len(draft) else max(1, good)


def verify(
    logits: Float[Tensor, "b c v"], rows: Sequence[Request], drafts: Sequence[list[int]]
) -> Iterator[tuple[Request, str]]:
    """Let each row choose, place by place, until it leaves its draft or ends.

    The last column of a row is the place behind its draft.
    """
    columns = logits.shape[1]
    going = list(range(len(rows)))
    for row, draft in zip(rows, drafts, strict=True):
        row.drafted += len(draft)
    place = 0
    while going:
        at = [columns - 1 - len(drafts[i]) + place for i in going]
        here = logits[going, at]
        tokens = choose(here, [rows[i] for i in going])
        given = sample.logprobs(here, tokens)
        on = []
        for i, token, logprob in zip(going, tokens.tolist(), given.tolist(), strict=True):
            row = rows[i]
            yield row, row.take(token, logprob)
            if place < len(drafts[i]) and token == drafts[i][place]:
                row.accepted += 1
                if row.finish is None:
                    on.append(i)
        going = on
        place += 1
