import os

import wandb

os.environ["WANDB_MODE"] = "offline"
wandb.login(key=os.environ.get("WANDB_API_KEY"))
run = wandb.init(project="deblur", mode="offline")
os.environ["WANDB_RUN_DIR"] = run.dir


def other() -> None:
    os.environ["WANDB_MODE"] = "disabled"
