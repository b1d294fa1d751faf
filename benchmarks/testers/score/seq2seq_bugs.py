"""What goes wrong in a translator."""

from benchmarks.testers.bug import Bug

BUGS = (
    Bug(
        "decoder-looks-ahead",
        edits=(("                tgt_mask=causal,\n", ""),),
        kinds=("causal-leak",),
        where=("", "decoder.0", "decoder.0.self_attn"),
        needs="facts",
        source="tutorials #719",
    ),
    Bug(
        "sees-one-ahead",
        edits=((".triu(1)", ".triu(2)"),),
        kinds=("causal-leak",),
        where=("", "decoder.0", "decoder.0.self_attn"),
        needs="facts",
        source="octo #75",
    ),
    Bug(
        "memory-with-its-padding",
        edits=(("                memory_key_padding_mask=src_pad,\n", ""),),
        kinds=("padding-leak", "mask"),
        where=("", "decoder.0", "decoder.0.multihead_attn"),
        needs="facts",
        source="attention-is-all-you-need-keras #16",
    ),
    Bug(
        "encoder-reads-the-padding",
        edits=(("layer(x, src_key_padding_mask=src_pad)", "layer(x)"),),
        kinds=("padding-leak", "mask"),
        where=("", "encoder.0", "encoder.0.self_attn"),
        needs="facts",
        source="transformers #16136",
    ),
    Bug(
        "memory-mask-the-wrong-way-round",
        edits=(("memory_key_padding_mask=src_pad", "memory_key_padding_mask=~src_pad"),),
        kinds=("mask", "padding-leak", "non-finite"),
        where=("", "decoder.0", "decoder.0.multihead_attn"),
        needs="facts",
        source="pytorch #27968",
    ),
    Bug(
        "places-of-the-rows",
        edits=(
            ("pe = torch.zeros(1, max_len, d_model)", "pe = torch.zeros(max_len, 1, d_model)"),
            ("pe[0, :, 0::2]", "pe[:, 0, 0::2]"),
            ("pe[0, :, 1::2]", "pe[:, 0, 1::2]"),
            ("self.pe[:, : x.size(1)]", "self.pe[: x.size(0)]"),
        ),
        kinds=("batch-leak", "position-blind"),
        where=("pos", ""),
        needs="nothing",
        source="Diffusion_models_from_scratch #10",
    ),
    Bug(
        "no-places",
        edits=(("        x = x + self.pe[:, : x.size(1)]\n", ""),),
        kinds=("position-blind",),
        where=("pos", "", "src"),
        needs="facts",
        source="seeded",
    ),
    Bug(
        "last-place-for-all",
        edits=(("self.pe[:, : x.size(1)]", "self.pe[:, x.size(1)]"),),
        kinds=("position-blind",),
        where=("pos", "", "src"),
        needs="facts",
        source="annotated_deep_learning_paper_implementations #133",
    ),
    Bug(
        "places-are-no-buffer",
        edits=(('self.register_buffer("pe", pe)', "self.pe = pe"),),
        kinds=("unregistered", "device", "dtype"),
        where=("pos",),
        needs="nothing",
        source="mace #1415",
    ),
    Bug(
        "learns-to-pad",
        edits=(("        ignore_index=PAD,\n", ""),),
        kinds=("loss-ignored",),
        where=("",),
        needs="facts",
        source="open_clip #316",
    ),
    Bug(
        "repeats-its-input",
        edits=(('batch["gold"].reshape(-1)', 'batch["tgt"].reshape(-1)'),),
        kinds=("loss-targets",),
        where=("",),
        needs="facts",
        source="cscg #4",
    ),
    Bug(
        "shifts-once-more",
        edits=(
            ("output.reshape(-1, TGT_VOCAB)", "output[:, :-1].reshape(-1, TGT_VOCAB)"),
            ('batch["gold"].reshape(-1)', 'batch["gold"][:, 1:].reshape(-1)'),
        ),
        kinds=("loss-targets",),
        where=("",),
        needs="facts",
        source="transformers #46898",
    ),
    Bug(
        "words-not-tied",
        edits=(("        self.generator.weight = self.tgt_emb.weight\n", ""),),
        kinds=("broken-tie",),
        where=("", "generator", "tgt_emb"),
        needs="facts",
        source="seeded",
    ),
    Bug(
        "batch-is-not-first",
        edits=(
            ('            "batch_first": True,\n', '            "batch_first": False,\n'),
            (
                "                tgt_mask=causal,\n"
                "                tgt_key_padding_mask=tgt_pad,\n"
                "                memory_key_padding_mask=src_pad,\n",
                "",
            ),
            ("layer(x, src_key_padding_mask=src_pad)", "layer(x)"),
        ),
        kinds=("batch-leak", "ignored-input"),
        where=("", "encoder.0", "decoder.0", "encoder.0.self_attn", "decoder.0.self_attn"),
        needs="nothing",
        source="cove #10",
    ),
    Bug(
        "memory-cut-off",
        edits=(
            (
                "        memory = self.encode(src, src_pad)\n",
                "        with torch.no_grad():\n            memory = self.encode(src, src_pad)\n",
            ),
        ),
        kinds=("detached", "unused-parameter"),
        where=("", "encoder", "encoder.0", "src_emb"),
        needs="nothing",
        source="CoCa-pytorch #6",
    ),
    Bug(
        "words-far-too-loud",
        edits=(
            (
                "nn.init.normal_(emb.weight, std=d_model**-0.5)",
                "nn.init.normal_(emb.weight, std=d_model**0.5)",
            ),
        ),
        kinds=("init", "loss-scale", "saturated"),
        where=("", "tgt_emb", "generator", "src_emb"),
        needs="nothing",
        source="seeded",
    ),
    Bug(
        "first-word-cut-off",
        edits=(
            (
                "memory = self.encode(src, src_pad)",
                "src, src_pad = src[:, 1:], src_pad[:, 1:]\n"
                "        memory = self.encode(src, src_pad)",
            ),
        ),
        kinds=("dead-position", "ignored-input"),
        where=("", "encoder", "src"),
        needs="nothing",
        source="Pytorch-Simple-Transformer #3",
    ),
)
