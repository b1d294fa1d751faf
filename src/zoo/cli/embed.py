"""Turn texts into vectors with a BERT, one a line; or rank them by likeness to a query.

zoo embed "a cat" "a dog"
zoo embed --rank "pets" "a cat" "a stone"
cat sentences.txt | zoo embed --json
"""

import argparse
import json

from zoo.cli.common import emit, model_arguments, model_options, progress, texts_of


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("texts", nargs="*", metavar="TEXT", help="default: the lines of stdin")
    model_arguments(parser, default="minilm")
    parser.add_argument("--rank", metavar="QUERY", help="rank the texts by cosine with this one")
    parser.add_argument("--top", type=int, metavar="N", help="with --rank: the best N only")
    parser.add_argument(
        "--pooling", choices=("mean", "cls", "max"), help="default: as the folder says, else mean"
    )
    parser.add_argument(
        "--normalize",
        action=argparse.BooleanOptionalAction,
        help="vectors of length 1; default: as the folder says, else not",
    )


def run(args: argparse.Namespace) -> None:
    from zoo.tasks import Embedder

    texts = texts_of(args.texts, "texts")
    embedder = Embedder.from_folder(args.model, **model_options(args))
    options = {"pooling": args.pooling, "normalize": args.normalize}
    with progress(len(texts), "embedding") as done:
        if args.rank is None:
            vectors = embedder.embed(texts, **options, done=done).tolist()
        else:
            ranked = embedder.rank(args.rank, texts, pooling=args.pooling, done=done)
    if args.rank is None:
        for text, vector in zip(texts, vectors, strict=True):
            emit(args, {"text": text, "vector": vector}, json.dumps(vector))
        return
    for place, (index, score) in enumerate(ranked[: args.top], 1):
        record = {"rank": place, "score": score, "index": index, "text": texts[index]}
        emit(args, record, f"{score:7.4f}  {texts[index]}")
