import os

import wandb as wb

os.environ["WANDB_API_KEY"] = "abc123"


def main() -> None:
    run = wb.init(project="deblur")
    os.environ["WANDB_MODE"] = "offline"
    run.log({"loss": 0.5})
