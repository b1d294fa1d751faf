"""onnxruntime's forward pass, over the graph that torch exports of Hugging Face's model."""

import contextlib
import io
import tempfile
import warnings
from pathlib import Path
from typing import Any

import torch
from benchmarks.speed.job import Absent, Answer, Side, need
from torch import nn


class Positional(nn.Module):
    """A model that takes its batch as a list, and gives its one answer."""

    def __init__(self, model: nn.Module, names: list[str], more: dict[str, Any]) -> None:
        super().__init__()
        self.model, self.names, self.more = model, names, more

    def forward(self, *batch: torch.Tensor) -> torch.Tensor:
        found: Any = self.model(**dict(zip(self.names, batch, strict=True)), **self.more)
        return found.logits if hasattr(found, "logits") else found.logits_per_image


def side(pair: Any) -> Side:
    """Export, and open a session with as many threads as torch has."""
    need("onnx")
    runtime = need("onnxruntime")
    names = [*pair.batch]
    more: dict[str, Any] = {}
    if pair.sizes.family == "gpt2":  # without a mask it looks for packed texts, by an op ONNX lacks
        more = {"use_cache": False, "attention_mask": torch.ones_like(pair.batch["input_ids"])}
    model = Positional(pair.theirs("eager").eval(), names, more)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "model.onnx")
        try:
            with (
                warnings.catch_warnings(),
                torch.no_grad(),
                contextlib.redirect_stdout(io.StringIO()),  # the graph, where it fails
            ):
                warnings.simplefilter("ignore")  # tracing warns of every Python branch
                torch.onnx.export(
                    model,
                    tuple(pair.batch.values()),
                    str(file),
                    input_names=names,
                    output_names=["output"],
                    opset_version=17,
                    dynamo=False,
                )
        except Exception as error:  # exporters fail in a hundred ways; each is a reason
            said = " ".join(str(error).split())[:120]
            raise Absent(f"torch cannot export it: {type(error).__name__}: {said}") from None
        options = runtime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.inter_op_num_threads = 1
        session = runtime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    given = {name: tensor.numpy() for name, tensor in pair.batch.items()}

    def call() -> Any:
        return session.run(["output"], given)[0]

    def answer() -> Answer:
        return {"output": torch.from_numpy(call())}

    return Side(call, answer, opaque=True, warm=True)
