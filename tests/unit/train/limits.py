"""A disk that is full, as the kernel tells it."""

import resource
import signal


class limited:
    """Let no file grow over so many bytes: the kernel's short writes, then its refusal."""

    def __init__(self, most):
        self.most = most

    def __enter__(self):
        self.handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        self.before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (self.most, self.before[1]))

    def __exit__(self, *error):
        resource.setrlimit(resource.RLIMIT_FSIZE, self.before)
        signal.signal(signal.SIGXFSZ, self.handler)
