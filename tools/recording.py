"""What recording a model of any family takes: large weights, outputs of places, gradients."""

import tempfile
from pathlib import Path

import torch
from safetensors.torch import load_file


def random_weights(model, seed):
    """Make weights so large that a slip shows."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.3)
    return model.double().eval()


def outputs_of(model, places, run):
    """Call `run` and give the outputs of the named places: our submodule -> theirs."""
    modules = dict(model.named_modules())
    found = {}

    def keep(name):
        def hook(_module, _inputs, output):
            found[name] = (output[0] if isinstance(output, tuple) else output).detach().clone()

        return hook

    handles = []
    for ours, theirs in places.items():
        number = 0
        while theirs.replace("{}", str(number)) in modules and (number == 0 or "{}" in ours):
            module = modules[theirs.replace("{}", str(number))]
            handles.append(module.register_forward_hook(keep(ours.replace("{}", str(number)))))
            number += 1
        assert number, f"{theirs} is not in {type(model).__name__}"
    result = run()
    for handle in handles:
        handle.remove()
    return found, result


def published_gradients(model):
    """Name gradients as published files do: save a model that has them for weights."""
    kept = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    with torch.no_grad(), tempfile.TemporaryDirectory() as folder:
        for parameter in model.parameters():
            parameter.copy_(parameter.grad)
        model.save_pretrained(folder)
        found = load_file(Path(folder) / "model.safetensors")
        for name, parameter in model.named_parameters():
            parameter.copy_(kept[name])
    return found
