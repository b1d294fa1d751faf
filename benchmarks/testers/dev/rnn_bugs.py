"""Bugs of the recurrent network and of its loop."""

from benchmarks.testers.bug import Bug

CELLS = ("cells.0", "cells.1")

BUGS = (
    Bug(
        "state-kept-between-calls",
        edits=(
            (
                "        states = [cell.start(emb[:, 0]) for cell in self.cells]\n",
                '        states = getattr(self, "states", None)\n'
                "        if states is None or states[0][0].size(0) != text.size(0):\n"
                "            states = [cell.start(emb[:, 0]) for cell in self.cells]\n",
            ),
            (
                "        hidden = torch.stack(outputs, dim=1)\n",
                "        hidden = torch.stack(outputs, dim=1)\n"
                "        self.states = [(h.detach(), c.detach()) for h, c in states]\n",
            ),
        ),
        kinds=("state-carried", "nondeterministic"),
        where=("", *CELLS),
        needs="nothing",
        source="seeded",
    ),
    Bug(
        "summary-of-the-padding",
        edits=(("self.rnn(packed)", "self.rnn(x)"),),
        kinds=("ignored-input", "padding-leak"),
        where=("reader", "reader.rnn", ""),
        needs="nothing",
        source="ray #21392",
    ),
    Bug(
        "forward-state-twice",
        edits=(("[last[0], last[1]]", "[last[0], last[0]]"),),
        kinds=("unused-parameter",),
        where=("reader", "reader.rnn"),
        needs="nothing",
        source="decaNLP #9",
    ),
    Bug(
        "summary-crosses-the-batch",
        edits=(("torch.cat([last[0], last[1]], dim=1)", "last.reshape(x.size(0), -1)"),),
        kinds=("batch-leak",),
        where=("reader", ""),
        needs="nothing",
        source="seeded",
    ),
    Bug(
        "not-batch-first",
        edits=(
            (
                "nn.GRU(inputs, hidden, batch_first=True, bidirectional=True)",
                "nn.GRU(inputs, hidden, bidirectional=True)",
            ),
            (
                "        _, last = self.rnn(packed)\n"
                "        return torch.cat([last[0], last[1]], dim=1)\n",
                "        out, _ = self.rnn(x)\n"
                "        return out[torch.arange(x.size(0)), lengths - 1]\n",
            ),
        ),
        kinds=("batch-leak",),
        where=("reader", "reader.rnn"),
        needs="nothing",
        source="AEMatter #3",
    ),
    Bug(
        "state-detached-at-each-step",
        edits=(("new.append((h, c))", "new.append((h.detach(), c.detach()))"),),
        kinds=("detached", "wrong-gradient"),
        where=("", *CELLS),
        needs="nothing",
        source="seeded",
    ),
    Bug(
        "recurrence-cut",
        edits=(
            (
                "y, states = self.advance(emb[:, t] + context, states)",
                "y, _ = self.advance(emb[:, t] + context, states)",
            ),
        ),
        kinds=("unused-parameter", "position-blind", "dead-position", "receptive-field"),
        where=("", *CELLS, "cells.0.h2h", "cells.1.h2h"),
        needs="nothing",
        source="seeded",
    ),
    Bug(
        "sees-the-next-sign",
        edits=(
            (
                "y, states = self.advance(emb[:, t] + context, states)",
                "y, states = self.advance(emb[:, min(t + 1, text.size(1) - 1)] + context, states)",
            ),
        ),
        kinds=("causal-leak", "dead-position"),
        where=("",),
        needs="facts",
        source="seeded",
    ),
    Bug(
        "written-backwards",
        edits=(
            ("hidden = torch.stack(outputs, dim=1)", "hidden = torch.stack(outputs[::-1], dim=1)"),
        ),
        kinds=("causal-leak",),
        where=("",),
        needs="facts",
        source="seeded",
    ),
    Bug(
        "stacked-along-the-batch",
        edits=(
            (
                "torch.stack(outputs, dim=1)",
                "torch.cat(outputs, dim=0).view(text.size(0), text.size(1), -1)",
            ),
        ),
        kinds=("batch-leak", "causal-leak"),
        where=("",),
        needs="nothing",
        source="seeded",
    ),
    Bug(
        "value-broadcast-against-target",
        edits=(("self.value(summary).squeeze(1)", "self.value(summary)"),),
        kinds=("loss-shape", "shape"),
        where=("", "value"),
        needs="nothing",
        source="pytorch #16045",
    ),
    Bug(
        "label-is-the-input",
        edits=(('"next_text": text[:, 1:]', '"next_text": text[:, :-1]'),),
        kinds=("loss-targets",),
        where=("",),
        needs="facts",
        source="transformers #3711",
    ),
    Bug(
        "logits-flattened-across",
        edits=(("logits.flatten(0, 1), batch", "logits.transpose(0, 1).flatten(0, 1), batch"),),
        kinds=("loss-targets", "batch-leak"),
        where=("",),
        needs="facts",
        source="seeded",
    ),
    Bug(
        "hidden-state-on-the-default-device",
        edits=(
            ("like.new_zeros(like.size(0), self.hidden)", "torch.zeros(like.size(0), self.hidden)"),
        ),
        kinds=("dtype", "device"),
        where=CELLS,
        needs="nothing",
        source="seeded",
    ),
    Bug(
        "loss-without-mse-gradient",
        edits=(
            (
                'F.mse_loss(value, batch["target"].to(value.dtype))',
                'F.mse_loss(value, batch["target"].to(value.dtype)).item()',
            ),
        ),
        kinds=("detached", "unused-parameter"),
        where=("", "value"),
        needs="nothing",
        source="seeded",
    ),
    Bug(
        "clipped-before-backward",
        edits=(
            (
                "    value.backward()\n"
                "    torch.nn.utils.clip_grad_norm_(model.parameters(), max_norm=CLIP)\n",
                "    torch.nn.utils.clip_grad_norm_(model.parameters(), max_norm=CLIP)\n"
                "    value.backward()\n",
            ),
        ),
        kinds=("clipping",),
        where=("",),
        needs="facts",
        source="tabm #20",
    ),
    Bug(
        "scheduler-never-stepped",
        edits=(
            (
                "    optimizer.step()\n    scheduler.step()\n    return value.item()",
                "    optimizer.step()\n    return value.item()",
            ),
        ),
        kinds=("scheduler",),
        where=("",),
        needs="facts",
        source="seeded",
    ),
    Bug(
        "scheduler-not-resumed",
        edits=(('    scheduler.load_state_dict(checkpoint["sched"])\n', ""),),
        kinds=("resume", "scheduler"),
        where=("",),
        needs="facts",
        source="seeded",
    ),
    Bug(
        "pieces-added-up",
        edits=(
            ("(forward_loss(model, b) * share).backward()", "forward_loss(model, b).backward()"),
        ),
        kinds=("accumulation", "loss-scale"),
        where=("",),
        needs="facts",
        source="seeded",
    ),
    Bug(
        "reader-not-in-the-optimizer",
        edits=(
            (
                "torch.optim.Adam(model.parameters(), lr=LR)",
                "torch.optim.Adam([*model.cells.parameters(), *model.out.parameters()], lr=LR)",
            ),
        ),
        kinds=("optimizer", "frozen"),
        where=("", "embed", "reader", "bridge", "value", "reader.rnn"),
        needs="facts",
        source="seeded",
    ),
)
