"""A character tagger and language model on LSTM cells: packed bidirectional reader, step by step
writer, one number a row from a regression head."""

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.nn.utils.rnn import pack_padded_sequence

from zoo.testing.spec import Input, Trainer

PAD = 0
SIGNS, SIZE, HIDDEN, TIME = 29, 16, 20, 7


class Reader(nn.Module):
    """Reads what is known of a series both ways; gives a summary that padding does not touch."""

    def __init__(self, inputs, hidden):
        super().__init__()
        self.rnn = nn.GRU(inputs, hidden, batch_first=True, bidirectional=True)

    def forward(self, x, lengths):
        packed = pack_padded_sequence(x, lengths.cpu(), batch_first=True, enforce_sorted=False)
        _, last = self.rnn(packed)
        return torch.cat([last[0], last[1]], dim=1)


class Cell(nn.Module):
    """An LSTM cell with layer normalisation of the gates."""

    def __init__(self, inputs, hidden):
        super().__init__()
        self.x2h = nn.Linear(inputs, 4 * hidden)
        self.h2h = nn.Linear(hidden, 4 * hidden, bias=False)
        self.norm = nn.LayerNorm(4 * hidden)
        self.hidden = hidden
        nn.init.orthogonal_(self.h2h.weight)
        with torch.no_grad():
            self.norm.bias[hidden : 2 * hidden].fill_(1.0)  # remember at first

    def start(self, like):
        zeros = like.new_zeros(like.size(0), self.hidden)
        return zeros, zeros

    def forward(self, x, state):
        h, c = state
        i, f, g, o = self.norm(self.x2h(x) + self.h2h(h)).chunk(4, dim=1)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        h = torch.sigmoid(o) * torch.tanh(c)
        return h, c


class Net(nn.Module):
    def __init__(self, signs=SIGNS, size=SIZE, hidden=HIDDEN, layers=2, dropout=0.1):
        super().__init__()
        self.embed = nn.Embedding(signs, size, padding_idx=PAD)
        self.reader = Reader(3, hidden // 2)
        self.bridge = nn.Linear(hidden, size)
        self.cells = nn.ModuleList(
            [Cell(size if k == 0 else hidden, hidden) for k in range(layers)]
        )
        self.dropout = nn.Dropout(dropout)
        self.out = nn.Linear(hidden, signs)
        self.value = nn.Linear(hidden, 1)

    def advance(self, x, states):
        """Take one step through all cells."""
        new = []
        for cell, state in zip(self.cells, states, strict=True):
            h, c = cell(x, state)
            new.append((h, c))
            x = self.dropout(h)
        return x, new

    def forward(self, text, series, lengths):
        summary = self.reader(series, lengths)
        context = torch.tanh(self.bridge(self.dropout(summary)))
        emb = self.embed(text)
        states = [cell.start(emb[:, 0]) for cell in self.cells]
        outputs = []
        for t in range(text.size(1)):
            y, states = self.advance(emb[:, t] + context, states)
            outputs.append(y)
        hidden = torch.stack(outputs, dim=1)
        return self.out(hidden), self.value(summary).squeeze(1)


def build():
    return Net()


def batch(size):
    time, signs = TIME, 6
    lengths = torch.randint(2, time + 1, (size,))
    series = torch.randn(size, time, 3)
    series = series * (torch.arange(time)[None, :] < lengths[:, None])[..., None]
    text = torch.randint(1, SIGNS, (size, signs + 1))
    return {
        "text": text[:, :-1],
        "series": series,
        "lengths": lengths,
        "next_text": text[:, 1:],
        "target": torch.randn(size),
    }


def loss(output, batch):
    logits, value = output
    text_loss = F.cross_entropy(logits.flatten(0, 1), batch["next_text"].flatten())
    return text_loss + F.mse_loss(value, batch["target"].to(value.dtype))


# -- training ---------------------------------------------------------------------------------

LR = 2e-3
GAMMA = 0.95
CLIP = 0.5


def make_optimizer(model):
    return torch.optim.Adam(model.parameters(), lr=LR)


def make_scheduler(optimizer):
    return torch.optim.lr_scheduler.ExponentialLR(optimizer, GAMMA)


def forward_loss(model, b):
    return loss(model(b["text"], b["series"], b["lengths"]), b)


def step(model, optimizer, scheduler, b):
    model.train()
    optimizer.zero_grad()
    value = forward_loss(model, b)
    value.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), max_norm=CLIP)
    optimizer.step()
    scheduler.step()
    return value.item()


def accumulate(model, optimizer, scheduler, pieces):
    model.train()
    optimizer.zero_grad()
    rows = sum(len(b["target"]) for b in pieces)
    for b in pieces:
        share = len(b["target"]) / rows
        (forward_loss(model, b) * share).backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), max_norm=CLIP)
    optimizer.step()
    scheduler.step()


@torch.no_grad()
def evaluate(model, batches):
    before = model.training
    model.eval()
    values = [forward_loss(model, b).item() * len(b["target"]) for b in batches]
    model.train(before)
    return sum(values) / sum(len(b["target"]) for b in batches)


def save(model, optimizer, scheduler):
    return {
        "model": model.state_dict(),
        "optim": optimizer.state_dict(),
        "sched": scheduler.state_dict(),
    }


def load(checkpoint, model, optimizer, scheduler):
    model.load_state_dict(checkpoint["model"])
    optimizer.load_state_dict(checkpoint["optim"])
    scheduler.load_state_dict(checkpoint["sched"])


TRAINER = Trainer(
    optimizer=make_optimizer,
    scheduler=make_scheduler,
    step=step,
    accumulate=accumulate,
    evaluate=evaluate,
    save=save,
    load=load,
    clip=CLIP,
    schedule=lambda k: LR * GAMMA**k,
)

FACTS = {
    "task": "next_token",
    "labels": "next_text",
    "label_shift": 0,
    "inputs": {
        "text": Input(kind="tokens", vocab_size=SIGNS, sequence_axis=1),
        "series": Input(kind="float", sequence_axis=1),
        "lengths": Input(kind="index", low=1, high=TIME),
    },
    "output": "0",
    "output_kind": "logits",
    "causal": "text",
    "couples_batch": False,
    "couples_batch_train": False,
    "stateful": False,
    "train_noise": True,
    "deterministic": True,
    "position_sensitive": True,
}
