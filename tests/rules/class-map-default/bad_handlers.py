import pandas as pd


def encode(frame: pd.DataFrame, label_map: dict[str, int]) -> pd.DataFrame:
    frame["target"] = frame["label"].map(label_map).fillna(0).astype(int)
    return frame


class Folder:
    def __init__(self, root, class_to_idx):
        self.root = root
        self.class_to_idx = class_to_idx

    def target(self, name):
        try:
            label = self.class_to_idx[name]
        except KeyError:
            label = 0
        return label

    def number(self, name):
        try:
            return self.class_to_idx[name.lower()]
        except (KeyError, AttributeError):
            return 0

    def checked(self, name):
        label = self.class_to_idx.get(name)
        if name not in self.class_to_idx:
            label = 0
        return label

    def from_list(self, name, classes):
        first = classes.index(name) if name in classes else 0
        second = next((i for i, c in enumerate(classes) if c == name), 1)
        third = self.class_to_idx.get(name) or 0
        return first, second, third
