import argparse
import os

import torch
import yaml


def load(path):
    with open(path) as file:
        return yaml.safe_load(file)


def main(parameters):
    parser = argparse.ArgumentParser()
    parser.add_argument("--lr", default=1e-3, type=float)
    config = load("run.yaml")
    lr = float(config.get("training", {}).get("lr", 1e-4))
    workers = int(os.environ.get("WORKERS", 4))
    optimizer = torch.optim.AdamW(parameters, lr=lr, weight_decay=float(config["weight_decay"]))
    return parser, workers, optimizer
