"""Every random generator that a run may draw from, as tensors and JSON.

    cpu, cuda0, ...   torch's, as torch gives them
    numpy, python     624 words of a Mersenne twister each, and their place among them

Both twisters also keep a second normal number for the next call, which is JSON.
"""

import random
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from zoo.checkpoint import CheckpointError

TWISTER = "MT19937"  # numpy's global generator, unless somebody took another


def generators() -> dict[str, Tensor]:
    """Give the generators' states by name."""
    _, words, _ = random.getstate()
    states = {
        "cpu": torch.get_rng_state(),
        "numpy": torch.from_numpy(numpy_state()["state"]["key"].astype(np.int64)),
        "python": torch.tensor(words),
    }
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        cards = torch.cuda.get_rng_state_all()
        states |= {f"cuda{i}": state for i, state in enumerate(cards)}
    return states


def generator_facts() -> dict[str, Any]:
    """Give what of the states is no tensor."""
    version, _, spare = random.getstate()
    state = numpy_state()
    return {
        "numpy": {
            "pos": state["state"]["pos"],
            "has_gauss": state["has_gauss"],
            "gauss": state["gauss"],
        },
        "python": {"version": version, "gauss": spare},
    }


def set_generators(states: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
    """Set each generator that is here and among the states."""
    words = states["python"].tolist()
    random.setstate((facts["python"]["version"], tuple(words), facts["python"]["gauss"]))
    inner = {"key": states["numpy"].numpy().astype(np.uint32), "pos": facts["numpy"]["pos"]}
    spare = {key: facts["numpy"][key] for key in ("has_gauss", "gauss")}
    np.random.set_state({"bit_generator": TWISTER, "state": inner} | spare)
    torch.set_rng_state(states["cpu"])
    for name in generators().keys() & states.keys():
        if name.startswith("cuda"):
            torch.cuda.set_rng_state(states[name], int(name.removeprefix("cuda")))


def numpy_state() -> dict[str, Any]:
    state: Any = np.random.get_state(legacy=False)
    if state["bit_generator"] != TWISTER:
        raise CheckpointError(
            f"numpy's global generator is {state['bit_generator']}; only {TWISTER} can be kept: "
            "draw from a generator of your own instead"
        )
    return state
