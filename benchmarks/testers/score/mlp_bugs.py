"""What goes wrong in a tabular regressor and in the loop that trains it."""

from benchmarks.testers.bug import Bug

BUGS = (
    Bug(
        "column-against-row",
        edits=(("self.head(self.norm(x)).squeeze(-1)", "self.head(self.norm(x))"),),
        kinds=("loss-shape",),
        where=("", "head"),
        needs="nothing",
        source="pytorch #16045",
    ),
    Bug(
        "squeezes-everything",
        edits=((".squeeze(-1)", ".squeeze()"),),
        kinds=("shape",),
        where=("", "head"),
        needs="nothing",
        source="seeded",
    ),
    Bug(
        "standardises-in-place",
        edits=(
            (
                "x = (numbers - self.mean) / self.std",
                "x = numbers.sub_(self.mean).div_(self.std)",
            ),
        ),
        kinds=("input-mutated",),
        where=("", "numbers"),
        needs="nothing",
        source="brevitas #1504",
    ),
    Bug(
        "swish-slope-without-x",
        edits=(("(s * (1 + x * (1 - s)))", "(s * (1 + (1 - s)))"),),
        kinds=("wrong-gradient",),
        where=("blocks.0", "blocks.1", "blocks.2"),
        needs="nothing",
        source="seeded",
    ),
    Bug(
        "swish-keeps-the-sigmoid",
        edits=(
            (
                "ctx.save_for_backward(x)",
                "s = torch.sigmoid(x)\n        ctx.save_for_backward(x, s)",
            ),
            ("return x * torch.sigmoid(x)", "return x * s"),
            ("(x,) = ctx.saved_tensors\n        s = torch.sigmoid(x)", "x, s = ctx.saved_tensors"),
        ),
        kinds=("double-backward",),
        where=("", "blocks.0", "blocks.1", "blocks.2"),
        needs="facts",
        source="pytorch #104040",
    ),
    Bug(
        "blocks-in-a-list",
        edits=(
            (
                "nn.ModuleList([Block(width, dropout) for _ in range(depth)])",
                "[Block(width, dropout) for _ in range(depth)]",
            ),
        ),
        kinds=("unregistered",),
        where=("", "blocks"),
        needs="nothing",
        source="pytorch #666",
    ),
    Bug(
        "std-is-no-buffer",
        edits=(
            ('self.register_buffer("std", torch.tensor(STDS))', "self.std = torch.tensor(STDS)"),
        ),
        kinds=("unregistered", "device"),
        where=("",),
        needs="nothing",
        source="mace #1415",
    ),
    Bug(
        "dropout-always-on",
        edits=(("h = self.dropout(h)", "h = nn.functional.dropout(h, self.dropout.p)"),),
        kinds=("eval-noise", "nondeterministic"),
        where=("blocks.0", "blocks.1", "blocks.2"),
        needs="nothing",
        source="DME #3",
    ),
    Bug(
        "dropout-declared-and-forgotten",
        edits=(("        h = self.dropout(h)\n", ""),),
        kinds=("no-train-noise",),
        where=("blocks.0", "blocks.0.dropout", "blocks.1.dropout", "blocks.2.dropout"),
        needs="facts",
        source="deepnog #44",
    ),
    Bug(
        "unknown-district-is-the-last",
        edits=(("self.district(district)]", "self.district(district.clamp(max=DISTRICTS - 1))]"),),
        kinds=("accepts-bad-input",),
        where=("", "district"),
        needs="facts",
        source="seeded",
    ),
    Bug(
        "every-unit-alike",
        edits=(
            (
                "self.up = nn.Linear(width, 2 * width)",
                "self.up = nn.Linear(width, 2 * width)\n"
                "        nn.init.constant_(self.up.weight, 0.01)\n"
                "        nn.init.zeros_(self.up.bias)",
            ),
        ),
        kinds=("init", "dead-units", "collapsed"),
        where=("blocks.0.up", "blocks.1.up", "blocks.2.up"),
        needs="nothing",
        source="seeded",
    ),
    Bug(
        "maximises-the-error",
        edits=(('return (output - batch["price"])', 'return -(output - batch["price"])'),),
        kinds=("loss-sign", "not-learning"),
        where=("",),
        needs="nothing",
        source="seeded",
    ),
    Bug(
        "sums-the-rows",
        edits=((".pow(2).mean()", ".pow(2).sum()"),),
        kinds=("loss-scale",),
        where=("",),
        needs="facts",
        source="seeded",
    ),
    Bug(
        "block-without-gradient",
        edits=(("return x + self.down(h)", "return x + self.down(h).detach()"),),
        kinds=("detached", "unused-parameter"),
        where=("blocks.0", "blocks.1", "blocks.2", "blocks.0.down", "blocks.0.up"),
        needs="nothing",
        source="DTUM #8",
    ),
    Bug(
        "always-float32",
        edits=(("x = self.stem(x)", "x = self.stem(x.float())"),),
        kinds=("dtype",),
        where=("", "stem"),
        needs="nothing",
        source="pytorch-crf #56",
    ),
    Bug(
        "gradients-never-zeroed",
        edits=(
            (
                "    optimizer.zero_grad()\n    error = loss(model(data",
                "    error = loss(model(data",
            ),
        ),
        kinds=("zero-grad",),
        where=("",),
        needs="facts",
        source="silero-vad #699",
    ),
    Bug(
        "clips-after-the-step",
        edits=(
            (
                "    error.backward()\n"
                "    nn.utils.clip_grad_norm_(model.parameters(), 0.5)\n"
                "    optimizer.step()",
                "    error.backward()\n"
                "    optimizer.step()\n"
                "    nn.utils.clip_grad_norm_(model.parameters(), 0.5)",
            ),
        ),
        kinds=("clipping",),
        where=("",),
        needs="facts",
        source="graphstorm #1366",
    ),
    Bug(
        "pieces-are-not-weighted",
        edits=(("(error * share).backward()", "error.backward()"),),
        kinds=("accumulation",),
        where=("",),
        needs="facts",
        source="neural_sp #168",
    ),
    Bug(
        "resumes-without-moments",
        edits=(('    optimizer.load_state_dict(state["optimizer"])\n', ""),),
        kinds=("resume",),
        where=("",),
        needs="facts",
        source="CodefyUI #147",
    ),
    Bug(
        "stays-in-eval-mode",
        edits=(("    model.train(was_training)\n", ""),),
        kinds=("eval-mode",),
        where=("",),
        needs="facts",
        source="ncsn #2",
    ),
    Bug(
        "head-replaced-after-the-optimizer",
        edits=(
            (
                "return torch.optim.AdamW(model.parameters(), lr=2e-3)",
                "optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)\n"
                "    model.head = nn.Linear(model.head.in_features, 1)  # a fresh one\n"
                "    return optimizer",
            ),
        ),
        kinds=("optimizer",),
        where=("", "head"),
        needs="facts",
        source="nni #4521",
    ),
    Bug(
        "checkpoint-with-new-dice",
        edits=(
            (
                "import torch\nfrom torch import nn",
                "import torch\nfrom torch import nn\nfrom torch.utils.checkpoint import checkpoint",
            ),
            (
                "            x = block(x)\n",
                "            x = checkpoint(\n"
                "                block, x, use_reentrant=False, preserve_rng_state=False\n"
                "            )\n",
            ),
        ),
        kinds=("checkpointing", "wrong-gradient", "nondeterministic"),
        where=("", "blocks.0", "blocks.1", "blocks.2"),
        needs="nothing",
        source="pytorch-checkpoint #3",
    ),
    Bug(
        "a-new-tensor-for-the-loss",
        edits=(
            (
                'return (output - batch["price"]).pow(2).mean()',
                'error = (output - batch["price"]).pow(2).mean()\n'
                "    return torch.tensor(error.item(), requires_grad=True)",
            ),
        ),
        kinds=("detached", "loss-constant", "not-learning", "unused-parameter"),
        where=("",),
        needs="nothing",
        source="seeded",
    ),
    Bug(
        "swish-drops-what-comes-back",
        edits=(("return grad * (s * (1 + x * (1 - s)))", "return s * (1 + x * (1 - s))"),),
        kinds=("wrong-gradient",),
        where=("blocks.0", "blocks.1", "blocks.2"),
        needs="nothing",
        source="seeded",
    ),
)
