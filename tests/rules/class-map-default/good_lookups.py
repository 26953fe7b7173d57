from collections import Counter, defaultdict

CLASSES = ["background", "cat", "dog"]
class_to_idx = {name: index for index, name in enumerate(CLASSES)}
UNKNOWN = 2
IGNORE_INDEX = 255
cat2label = {"cat": 0, "dog": 1, "other": 2}


def count(labels):
    label_counts = {}
    for label in labels:
        label_counts[label] = label_counts.get(label, 0) + 1
    return label_counts, Counter(labels)


def weights(labels, class_weight_map):
    return [class_weight_map.get(label, 1) for label in labels]


def encode(labels):
    strict = [class_to_idx[label] for label in labels]
    ignored = [class_to_idx.get(label, -100) for label in labels]
    masked = [class_to_idx.get(label, IGNORE_INDEX) for label in labels]
    meant = [cat2label.get(label, UNKNOWN) for label in labels]
    known = [class_to_idx.get(label) for label in labels]
    return strict, ignored, masked, meant, known


def settings(config):
    start = config.get("start_epoch", 0)
    fold = config.get("fold", 1)
    return start, fold


def target(name, label_map):
    try:
        return label_map[name]
    except KeyError:
        raise ValueError(f"{name!r} is none of {sorted(label_map)}") from None


def colours(label, label_colors):
    return label_colors.get(label, 0)


def per_class(scores):
    found = defaultdict(int)
    for label, score in scores:
        found[label] += score
    return found


def find(name, classes, steps):
    place = next((i for i, c in enumerate(classes) if c == name), None)
    step = steps.index(name) if name in steps else 0
    return place, step, class_to_idx.get(name) or len(classes)


ORDER = {"low": 0, "middle": 1, "high": 2}


def urgency(word, atoms):
    atom_to_place = {name: place for place, name in enumerate(atoms)}
    return ORDER.get(word, 0), [atom_to_place.get(atom, 0) for atom in atoms]


def offsets(pages, old_to_new, id_map):
    return [old_to_new.get(page, 0) for page in pages], [id_map[page] if page in id_map else 0 for page in pages]
