"""The plain way to serve a model: Hugging Face's `generate` behind FastAPI, a request at a time.

python -m benchmarks.load.peer FOLDER THREADS AT_ONCE

`generate` takes one request; AT_ONCE of them run in threads of their own, the next waits.
"""

import socket
import sys
import threading
from pathlib import Path
from typing import Any

import torch
import uvicorn
from fastapi import FastAPI
from tokenizers import Tokenizer
from transformers import GPT2LMHeadModel


class Loop:
    """A model, and whose turn it is."""

    def __init__(self, folder: str, at_once: int) -> None:
        self.model = GPT2LMHeadModel.from_pretrained(folder).eval()
        self.tokenizer = Tokenizer.from_file(str(Path(folder) / "tokenizer.json"))
        self.turn = threading.Semaphore(at_once)

    def complete(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Continue a prompt of ids greedily by `max_tokens`."""
        ids, most = asked["prompt"], asked["max_tokens"]
        with self.turn, torch.inference_mode():
            made = self.model.generate(
                torch.tensor([ids]),
                attention_mask=torch.ones(1, len(ids), dtype=torch.long),
                max_new_tokens=most,
                min_new_tokens=most,
                do_sample=False,
                pad_token_id=0,
            )
        new = made[0, len(ids) :].tolist()
        choice = {"index": 0, "text": self.tokenizer.decode(new), "finish_reason": "length"}
        usage = {"prompt_tokens": len(ids), "completion_tokens": len(new)}
        return {"model": "peer", "choices": [choice], "usage": usage}


def main(argv: list[str]) -> None:
    torch.set_num_threads(int(argv[1]))
    loop, app = Loop(argv[0], int(argv[2])), FastAPI()
    app.add_api_route("/v1/completions", loop.complete, methods=["POST"])
    app.add_api_route("/readyz", lambda: {"status": "ready"})
    loop.complete({"prompt": [1, 2, 3], "max_tokens": 8})  # the first is slow
    with socket.create_server(("127.0.0.1", 0)) as listener:
        print(f"serving on http://127.0.0.1:{listener.getsockname()[1]}", flush=True)
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
        server.run(sockets=[listener])


if __name__ == "__main__":
    main(sys.argv[1:])
