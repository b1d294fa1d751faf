"""What a run says when a number is not finite: step, module and rows, kept in RUN/fault.json."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from zoo.objectives import OBJECTIVES
from zoo.train.blame import Fault, find_fault
from zoo.train.loop import TrainingError
from zoo.train.record import write_json
from zoo.train.seeds import seed_all

SHOWN = 4  # names of rows in the message; the file has all


def told(
    run: Any, share: Any, micros: Sequence[Mapping[str, Tensor]], rate: float, error: TrainingError
) -> TrainingError:
    """Give the error that names the step, the first module and the rows; write RUN/fault.json.

    The step is run again to find the module, on a model that is whole: not under FSDP2.
    """
    names = share.names()
    fault, piece = None, 0
    if run.world.mode != "fsdp":
        fault, piece = first_fault(run, share.step, micros)
    rows = len(names) // max(1, len(micros))
    if fault is not None:
        names = names[piece * rows : (piece + 1) * rows]
    place = run.folder / f"fault{f'-rank{run.world.rank}' if run.world.rank else ''}.json"
    record = {
        "step": share.step,
        "error": str(error),
        "rate": rate,
        "rows": names,
        "fault": None if fault is None else vars(fault),
    }
    write_json(place, record)
    shown = ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if names[SHOWN:] else "")
    where = "" if fault is None else f" First: {fault.sentence()}."
    steps = run.store.steps()
    kept = f"The checkpoint of step {steps[-1]} is as it was" if steps else "No checkpoint was due"
    return TrainingError(
        f"step {share.step}: {error}.{where} The batch: {shown} ({place}). {kept}: begin anew, "
        f"in another --out, with a lower optimizer.rate ({rate:.2e} here) or sound rows"
    )


def first_fault(
    run: Any, step: int, micros: Sequence[Mapping[str, Tensor]]
) -> tuple[Fault | None, int]:
    """Find the first micro batch, and in it the first module, that is not finite."""
    learner = run.learner
    for piece, batch in enumerate(micros):

        def again(batch: Mapping[str, Tensor] = batch) -> Tensor:
            seed_all(run.config.train.seed, step, run.world.rank)  # dropout as it was
            with learner.autocast():
                return OBJECTIVES[learner.name](learner.model, batch, **learner.options)

        fault = find_fault(learner.model, again, batch=batch)
        if fault is not None:
            return fault, piece
    return None, 0
