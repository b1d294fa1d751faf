"""What goes wrong in a GPT, in its cache, and in the loop that trains it."""

from benchmarks.testers.bug import Bug

ATTENTIONS = ("h.0.attn", "h.1.attn")

BUGS = (
    Bug(
        "sees-one-ahead",
        edits=((".tril(s - t)", ".tril(s - t + 1)"),),
        kinds=("causal-leak", "cache"),
        where=("", *ATTENTIONS),
        needs="facts",
        source="octo #75",
    ),
    Bug(
        "mask-after-softmax",
        edits=(
            ('        att = att.masked_fill(~keep, float("-inf"))\n', ""),
            ("att = F.softmax(att, dim=-1)", "att = F.softmax(att, dim=-1) * keep"),
        ),
        kinds=("causal-leak", "mask", "padding-leak", "cache"),
        where=ATTENTIONS,
        needs="facts",
        source="memory-compressed-attention #2",
    ),
    Bug(
        "a-very-small-minus",
        edits=(('att.masked_fill(~keep, float("-inf"))', "att.masked_fill(~keep, -1e-9)"),),
        kinds=("causal-leak", "mask", "padding-leak", "cache"),
        where=ATTENTIONS,
        needs="facts",
        source="seeded",
    ),
    Bug(
        "softmax-over-the-queries",
        edits=(("att = F.softmax(att, dim=-1)", "att = F.softmax(att, dim=-2)"),),
        kinds=("causal-leak", "mask", "cache", "padding-leak"),
        where=ATTENTIONS,
        needs="facts",
        source="annotated_deep_learning_paper_implementations #146",
    ),
    Bug(
        "mask-the-wrong-way-round",
        edits=(("att.masked_fill(~keep", "att.masked_fill(keep"),),
        kinds=("non-finite", "causal-leak", "mask"),
        where=ATTENTIONS,
        needs="nothing",
        source="LLMs-from-scratch #1062",
    ),
    Bug(
        "padding-has-a-place",
        edits=(
            (
                "position = (attention_mask.long().cumsum(1) - 1).clamp(min=0)[:, -t:]",
                "position = torch.arange(s - t, s, device=input_ids.device)[None]",
            ),
        ),
        kinds=("padding-leak",),
        where=("", "wpe"),
        needs="facts",
        source="transformers #21080",
    ),
    Bug(
        "padding-is-attended-to",
        edits=(
            (
                "keep = ((causal & real[:, None, :]) | own)[:, None]",
                "keep = (causal | own)[None, None]",
            ),
        ),
        kinds=("padding-leak", "mask"),
        where=("", *ATTENTIONS),
        needs="facts",
        source="minimind-v #76",
    ),
    Bug(
        "heads-and-time-mixed",
        edits=(("y.transpose(1, 2).contiguous().view(B, T, C)", "y.contiguous().view(B, T, C)"),),
        kinds=("causal-leak", "padding-leak", "cache"),
        where=ATTENTIONS,
        needs="facts",
        source="Informer2020 #59",
    ),
    Bug(
        "each-step-at-the-start",
        edits=((".clamp(min=0)[:, -t:]", ".clamp(min=0)[:, :t]"),),
        kinds=("cache",),
        where=("", "wpe"),
        needs="facts",
        source="tiny-llm #46",
    ),
    Bug(
        "a-step-sees-the-first-word",
        edits=((".tril(s - t)", ".tril()"),),
        kinds=("cache",),
        where=("", *ATTENTIONS),
        needs="facts",
        source="seeded",
    ),
    Bug(
        "new-values-go-first",
        edits=(
            (
                "v = torch.cat([past[1], v], dim=2)",
                "v = torch.cat([v, past[1]], dim=2)",
            ),
        ),
        kinds=("cache",),
        where=ATTENTIONS,
        needs="facts",
        source="seeded",
    ),
    Bug(
        "no-root-of-the-width",
        edits=((" * (1.0 / math.sqrt(k.size(-1)))", ""),),
        kinds=("saturated", "exploding", "init"),
        where=ATTENTIONS,
        needs="reference",
        source="tiny-transformers #71",
    ),
    Bug(
        "no-gelu",
        edits=(("        x = self.gelu(x)\n", ""),),
        kinds=("saturated", "dead-units", "exploding"),
        where=("h.0.mlp", "h.1.mlp", "h.0.mlp.gelu", "h.1.mlp.gelu"),
        needs="reference",
        source="seeded",
    ),
    Bug(
        "no-way-around-the-attention",
        edits=(("        x = x + a\n", "        x = a\n"),),
        kinds=("vanishing", "exploding"),
        where=("h.0", "h.1"),
        needs="reference",
        source="seeded",
    ),
    Bug(
        "tie-forgotten",
        edits=(("        self.wte.weight = self.lm_head.weight\n", ""),),
        kinds=("broken-tie",),
        where=("", "wte", "lm_head"),
        needs="facts",
        source="seeded",
    ),
    Bug(
        "weights-fifty-times-too-large",
        edits=(("mean=0.0, std=0.02", "mean=0.0, std=1.0"),),
        kinds=("init", "saturated", "loss-scale", "exploding"),
        where=("", "wte", "lm_head"),
        needs="nothing",
        source="seeded",
    ),
    Bug(
        "next-but-one",
        edits=(
            ("output.logits[:, :-1]", "output.logits[:, :-2]"),
            ('batch["labels"][:, 1:]', 'batch["labels"][:, 2:]'),
        ),
        kinds=("loss-targets",),
        where=("",),
        needs="facts",
        source="transformers #37830",
    ),
    Bug(
        "shifted-the-other-way",
        edits=(
            ("output.logits[:, :-1]", "output.logits[:, 1:]"),
            ('batch["labels"][:, 1:].contiguous', 'batch["labels"][:, :-1].contiguous'),
        ),
        kinds=("loss-targets",),
        where=("",),
        needs="facts",
        source="seeded",
    ),
    Bug(
        "decay-and-the-rest-forgotten",
        edits=(
            ('        {"params": [p for p in params if p.dim() < 2], "weight_decay": 0.0},\n', ""),
        ),
        kinds=("optimizer",),
        where=("",),
        needs="facts",
        source="mmf #620",
    ),
    Bug(
        "zeroed-at-every-piece",
        edits=(
            (
                "    optimizer.zero_grad(set_to_none=True)\n    tokens = ",
                "    tokens = ",
            ),
            (
                "        (loss(output, piece) * share)",
                "        optimizer.zero_grad()\n        (loss(output, piece) * share)",
            ),
        ),
        kinds=("accumulation", "zero-grad"),
        where=("",),
        needs="facts",
        source="RAE #67",
    ),
    Bug(
        "rate-falls-at-every-piece",
        edits=(
            (
                "(loss(output, piece) * share).backward()\n",
                "(loss(output, piece) * share).backward()\n        scheduler.step()\n",
            ),
            (
                "    optimizer.step()\n    scheduler.step()\n\n\ndef train_step",
                "    optimizer.step()\n\n\ndef train_step",
            ),
        ),
        kinds=("scheduler", "accumulation"),
        where=("",),
        needs="facts",
        source="h2o-llmstudio #663",
    ),
    Bug(
        "resumes-at-the-peak",
        edits=(('    scheduler.load_state_dict(checkpoint["scheduler"])\n', ""),),
        kinds=("resume", "scheduler"),
        where=("",),
        needs="facts",
        source="lightly-train #301",
    ),
    Bug(
        "clips-old-gradients",
        edits=(
            (
                "    value.backward()\n    nn.utils.clip_grad_norm_(model.parameters(), 0.1)\n",
                "    nn.utils.clip_grad_norm_(model.parameters(), 0.1)\n    value.backward()\n",
            ),
        ),
        kinds=("clipping",),
        where=("",),
        needs="facts",
        source="tabm #20",
    ),
)
