import argparse
import os

import torch
import yaml


def load(path):
    with open(path) as file:
        return yaml.safe_load(file)


def main(parameters):
    parser = argparse.ArgumentParser()
    parser.add_argument("--lr", default=1e-3)
    config = load("run.yaml")
    lr = config.get("training", {}).get("lr", 1e-4)
    workers = os.environ.get("WORKERS", 4)
    optimizer = torch.optim.AdamW(parameters, lr=lr, weight_decay=config["weight_decay"])
    return parser, workers, optimizer
