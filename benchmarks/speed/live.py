"""Count the bytes that torch's allocator for the CPU has given out and not got back.

It is the allocator's own record, as torch's profiler keeps it: tensors that operations make, what
kernels take inside, gradients. What lived before is not counted. The figure is the same in every
run, other than the resident set of a process. A dispatch mode is not used to count: while one is
active autograd adds gradients up in new tensors, which it does not do else.
"""

import os

os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # read once: the profiler tells when it starts

from torch.profiler import ProfilerActivity, profile


class Live:
    """Inside `with Live() as live`, what is given out is noted; then `live.peak`, `live.now`."""

    peak = 0  # the most bytes that lived at once
    now = 0  # bytes that still lived at the end

    def __enter__(self) -> "Live":
        self.profiler = profile(activities=[ProfilerActivity.CPU], profile_memory=True)
        self.profiler.__enter__()
        return self

    def __exit__(self, *exc: object) -> None:
        self.profiler.__exit__(*exc)
        record = self.profiler.profiler.kineto_results.events()
        noted = [(e.start_ns(), e.nbytes()) for e in record if e.name() == "[memory]"]
        for _, change in sorted(noted, key=lambda pair: pair[0]):
            self.now += change
            self.peak = max(self.peak, self.now)
