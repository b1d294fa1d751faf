"""Why a request gets no answer, said without HTTP; the door gives each kind its status."""

from typing import Any, Literal

Kind = Literal[
    "invalid",  # the request means nothing, or asks for more than the model or the limits allow
    "unknown",  # no such model or version
    "busy",  # the queue is full
    "unready",  # the model is loading, or its process is coming back
    "draining",  # the server is about to leave
    "late",  # the deadline has passed
    "cancelled",  # whoever asked has gone
    "broken",  # the model gave numbers that are not finite, or its process died of this request
]


class Refusal(Exception):
    """A request that is not answered, with a sentence for whoever asked.

    `param` names the field that is at fault; `retry_after` is when to come back, in seconds.
    """

    def __init__(
        self,
        kind: Kind,
        message: str,
        *,
        param: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message
        self.param = param
        self.retry_after = retry_after

    def record(self) -> dict[str, Any]:
        """Give the event that says so; see zoo.serve.job."""
        return {
            "is": "failed",
            "kind": self.kind,
            "message": self.message,
            "param": self.param,
            "retry_after": self.retry_after,
        }

    @classmethod
    def from_record(cls, record: dict[str, Any]) -> "Refusal":
        """Read what `record` gave."""
        return cls(
            record["kind"],
            record["message"],
            param=record.get("param"),
            retry_after=record.get("retry_after"),
        )


def model_failed() -> Refusal:
    """Say that the model failed, and nothing of how: an exception may speak of the machine."""
    return Refusal("broken", "the model failed; the server's log says how")
