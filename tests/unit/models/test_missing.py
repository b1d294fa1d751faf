"""Weights that a file lacks are an error that names them, or asked for; never random in silence."""

import pytest
import torch
from safetensors.torch import load_file, save_file

from unit.models.tiny import MAIN, tiny
from zoo.checkpoint import CheckpointError
from zoo.models import MODELS, load


@pytest.mark.parametrize("family", sorted(MODELS))
def test_a_weight_that_is_missing_is_named_or_asked_for(tmp_path, family):
    model = tiny(family, MAIN[family])
    model.save_pretrained(tmp_path)
    (tmp_path / "probe.json").unlink()
    state = load_file(tmp_path / "model.safetensors")
    gone = next(name for name in state if "norm" in name.lower() or "ln_" in name)
    del state[gone]
    save_file(state, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match=f"missing.*{gone}"):
        load(tmp_path)
    with pytest.raises(CheckpointError, match=f"missing.*{gone}"):
        load(tmp_path, fresh=["no.such.*"])
    again = load(tmp_path, fresh=["*"])
    assert all(torch.isfinite(x).all() for x in again.parameters())
