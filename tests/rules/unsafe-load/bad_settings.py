import yaml
from yaml import UnsafeLoader


def settings(path):
    with open(path) as file:
        return yaml.load(file, Loader=yaml.Loader)


def stored(path):
    return yaml.load(path.read_text(), UnsafeLoader)


def oldest(path):
    return yaml.unsafe_load(path.read_text())
