import csv
from collections import defaultdict

CLASSES = ["cat", "dog", "horse"]
class_to_idx = {name: index for index, name in enumerate(CLASSES)}
NUMBERS = {"benign": 0, "malignant": 1}
label_map = defaultdict(lambda: 0, {"cat": 0, "dog": 1})


class Annotations:
    def __init__(self, path, label2id):
        self.label2id = label2id
        with open(path) as file:
            self.rows = list(csv.DictReader(file))

    def label(self, index):
        return self.label2id.get(self.rows[index]["label"], 0)

    def species(self, index):
        name = self.rows[index]["species"]
        target = class_to_idx[name] if name in class_to_idx else 0
        return target

    def finding(self, index):
        name = self.rows[index]["finding"]
        label = NUMBERS.get(name, 1)
        return label


def remap(targets, original_to_new, id_map):
    remapped = [original_to_new.get(t.item(), 0) for t in targets]
    labels = [id_map[t] if t in id_map else 0 for t in targets]
    return remapped, labels
