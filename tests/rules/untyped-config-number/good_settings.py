import argparse
import json
import os

import torch
import yaml
from omegaconf import OmegaConf


def main(parameters, config):
    parser = argparse.ArgumentParser()
    parser.add_argument("--lr", default=1e-3, type=float)
    parser.add_argument("--verbose", action="store_true")
    parser.add_argument("--name", default="run")
    settings = yaml.safe_load(open("run.yaml"))
    lr = settings.get("lr", 1e-4)
    workers = int(os.environ.get("WORKERS", 4))
    epochs = settings.get("epochs", 3)
    torch.optim.AdamW(parameters, lr=float(lr), weight_decay=json.load(open("a.json"))["wd"])
    torch.optim.AdamW(parameters, lr=OmegaConf.load("b.yaml").lr, weight_decay=config["wd"])
    return parser, workers, epochs
