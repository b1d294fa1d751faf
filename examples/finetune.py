"""Fine-tune a BERT on your own labelled texts, with a plain PyTorch loop.

python examples/finetune.py ROWS.csv --out build/finetuned        (columns: text, label)

What is written, transformers loads too: AutoModelForSequenceClassification.from_pretrained(...).
"""

import argparse
import dataclasses

import torch

import zoo
from zoo.checkpoint.packaged import find
from zoo.data import read
from zoo.objectives import classification
from zoo.tokenizers import Tokenizer

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("rows", help="csv, jsonl or parquet with the columns text and label")
parser.add_argument("--model", default="minilm", help="a checkpoint folder; default: minilm")
parser.add_argument("--out", default="build/finetuned", help="default: build/finetuned")
parser.add_argument("--steps", type=int, default=30, help="default: 30")
parser.add_argument("--rate", type=float, default=2e-4, help="default: 2e-4")
args = parser.parse_args()
BATCH = 16

torch.manual_seed(0)
rows = read([args.rows], "labelled_text")
learnt, kept_back = rows.part("train").frame, rows.part("valid").frame
folder = find(args.model)
tokenizer = Tokenizer.from_folder(folder)
model = zoo.load(folder, head="sequence", fresh=["head.*"], classes=len(rows.labels))
model.config = dataclasses.replace(model.config, labels=rows.labels)
optimizer = torch.optim.AdamW(model.parameters(), lr=args.rate, weight_decay=0.01)


def batch(frame):
    labels = torch.tensor([rows.labels.index(label) for label in frame["label"]])
    return tokenizer.batch([*frame["text"]], longest=128) | {"labels": labels}


model.train()
for step in range(args.steps):
    loss = classification(model, batch(learnt.sample(BATCH, replace=True, random_state=step)))
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad()
    print(f"step {step:3}  loss {loss.item():.4f}")

model.eval()
with torch.no_grad():
    judged = batch(kept_back[:256])
    labels = judged.pop("labels")
    right = (model(**judged).argmax(-1) == labels).sum().item()
print(f"{right} of {len(labels)} rows kept back are right")
model.save_pretrained(args.out)
tokenizer.save(args.out)
