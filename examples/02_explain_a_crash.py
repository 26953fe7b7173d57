"""Ask why a piece of code failed, from inside a program. Needs snellen and torch."""

import traceback

import torch

import snellen

try:
    scores = torch.zeros(2, 4, 4, dtype=torch.float16)
    scores.masked_fill(torch.eye(4, dtype=torch.bool), -1e9)
except RuntimeError:
    for diagnosis in snellen.explain(traceback.format_exc()):
        print(f"{diagnosis.slug} ({diagnosis.score:.2f}): {diagnosis.cause}")
        print(f"fix: {diagnosis.fix.text}")
