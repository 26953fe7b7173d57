"""The same or nearly the same images are used for training and for validation.

What happens
------------
Validation is as good as training, the best epoch is always the last one, and on new images the model falls apart. Every
choice that was made by that score was made blindly.

Why
---
Both loaders were built from one list or folder, often by a line that was copied; copies (augmented, flipped,
oversampled) were made before the split, so that one lies on each side; frames of one video, tiles of one slide or
slices of one patient were split at random, though neighbours are almost equal; a scaler or PCA was fitted on all.

How to confirm
--------------
`set(train_files) & set(val_files)` must be empty, and so must the same of videos, patients, slides. For copies compare
hashes of the decoded images, perceptual ones for near copies. Or split by group and train again: if the score drops,
the old one was leaked.

Fix
---
Split first, by the thing that must not be on both sides: `GroupShuffleSplit(...).split(files, groups=videos)`. Then
augment, oversample and fit on the training part alone: `scaler.fit(X_train)`.

When it is something else
-------------------------
Two data sets over one folder are right when `Subset` gives each its own indices. Validation on training data for
debugging is a choice: mute it with `# snellen: ignore[split-leakage]`. Validation that is better than training may also
be dropout and augmentation, which only training has.

Sources
-------
- scikit-learn, data leakage: https://scikit-learn.org/stable/common_pitfalls.html#data-leakage
- `GroupShuffleSplit`:
  https://scikit-learn.org/stable/modules/generated/sklearn.model_selection.GroupShuffleSplit.html
- Kapoor and Narayanan, Leakage and the reproducibility crisis: https://doi.org/10.1016/j.patter.2023.100804
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import PurePath

from snellen.core.code.flow import Flow, Trail
from snellen.core.finding import Evidence, Finding, Fix, FixSafety, Level
from snellen.core.known.backbones import place
from snellen.core.plan import Cost, NotApplicable, Plan, setting_place
from snellen.core.rule import BeforeFacet, Rule, SourceFacet, absent
from snellen.core.source import UNKNOWN, Argument, Assignment, CallSite, Hit, SourceFile

__all__ = ["RULE"]

_TRAIN = re.compile(r"(?:^|[_.])(?:train|trn|training)(?:[_.]|set|loader|data|ds|dl|$)", re.IGNORECASE)
_VAL = re.compile(r"(?:^|[_.])(?:val|valid|validation|dev|test|holdout)(?:[_.]|set|loader|data|ds|dl|$)", re.IGNORECASE)
_DATA = re.compile(r"(?:Dataset|Folder|Data|Images|Set|CIFAR10+|MNIST|SVHN|STL10|Detection|Segmentation)$")
_TRANSFORM_NAME = re.compile(r"trans|aug|tfms?|preproc|compose|mean|std|size|shuffle|cache|verbose", re.IGNORECASE)
_PARTED = re.compile(
    r"\bSubset\(|SubsetRandomSampler|random_split|train_test_split|\.split\(|indices|_idx\b|KFold|\bids\b"
)
_GROUPED = re.compile(
    r"GroupShuffleSplit|GroupKFold|LeaveOneGroupOut|\bgroups?\b|split_by_group|patient|by_video", re.IGNORECASE
)
_SPLITTERS = frozenset({"sklearn.model_selection.train_test_split", "torch.utils.data.random_split"})
_SCORERS = frozenset({"sklearn.model_selection.cross_val_score", "sklearn.model_selection.cross_validate"})
_PER_SAMPLE = re.compile(r"Encoder|Binarizer|Normalizer$|FunctionTransformer|Vectorizer|PolynomialFeatures")
_NEIGHBOURS = {
    "frames": re.compile(r"(?:^|_)frames?(?:_?(?:paths?|files?|list|images?))?$", re.IGNORECASE),
    "tiles of one image": re.compile(
        r"(?:^|_)(?:patch(?:es)?|tiles?|windows|crops)(?:_?(?:paths?|files?|list))?$", re.IGNORECASE
    ),
    "slices of one volume": re.compile(r"(?:^|_)slices?(?:_?(?:paths?|files?|list))?$", re.IGNORECASE),
}
_COPIES = re.compile(r"(?:^|_)(?:aug|augmented|flipped|rotated|mirrored)(?:_|$)|_aug(?:mented)?s?$", re.IGNORECASE)
_CHANGES = re.compile(r"(?:flip|rot|aug|transform|noise|blur|jitter|shift|mirror)\w*$", re.IGNORECASE)
_SLICE = re.compile(r"^(?P<name>[\w.]+)\[(?P<low>[\w.-]*)\s*:\s*(?P<high>[\w.-]*)\]$")


def _examine(file: SourceFile) -> Iterator[Hit]:
    if file.settings:
        yield from _settings(file)
        return
    yield from _same_data(file)
    yield from _same_loader(file)
    yield from _same_part(file)
    if any(call.name in _SPLITTERS | _SCORERS for call in file.calls):
        yield from _before_the_split(file)


def _side(target: str) -> str:
    """`train`, `val` or nothing, by the name that something is given."""
    name = target.removeprefix("self.")
    train, val = _TRAIN.search(name), _VAL.search(name)
    return "" if bool(train) == bool(val) else "train" if train else "val"


# -- one source, two names ---------------------------------------------------------------------------------------------


def _same_data(file: SourceFile) -> Iterator[Hit]:
    """Two data sets that are made alike, one for training and one for validation."""
    made = [(item, item.call) for item in file.assignments if item.call is not None and _DATA.search(item.call.method)]
    training = [(item, call) for item, call in made if _side(item.target) == "train"]
    for item, call in made:
        if _side(item.target) != "val" or not call.arguments or _parted(file, item):
            continue
        for other, twin in training:
            if other.function == item.function and _alike(call, twin) and not _parted(file, other):
                yield _copied(file, item, call, other)
                break


def _parted(file: SourceFile, item: Assignment) -> bool:
    """Whether indices say later which part of a data set is meant."""
    block = file.function_around(item.span)
    return _PARTED.search(block.code if block is not None else file.text) is not None


def _alike(one: CallSite, other: CallSite) -> bool:
    """Whether two calls draw on the same data: the same arguments, transforms aside."""
    if one.name != other.name:
        return False
    given = [{argument.name or str(n): argument for n, argument in enumerate(call.arguments)} for call in (one, other)]
    names = [name for name in (*given[0], *given[1]) if not _TRANSFORM_NAME.search(name)]
    data = 0
    for name in dict.fromkeys(names):
        first, second = given[0].get(name), given[1].get(name)
        if first is None or second is None:
            return False
        if all(_TRANSFORM_NAME.search(argument.code) for argument in (first, second)):
            continue
        if first.code != second.code and not _same_constant(first, second):
            return False
        data += 1
    return data > 0


def _same_constant(one: Argument, other: Argument) -> bool:
    return one.value is not UNKNOWN and one.value == other.value


def _copied(file: SourceFile, item: Assignment, call: CallSite, other: Assignment) -> Hit:
    message = f"`{item.target}` is made of the same data as `{other.target}`: `{' '.join(other.code.split())[:80]}`"
    evidence = Evidence(f"{other.target} = {' '.join(other.code.split())[:80]}", place(file.path, other.span))
    train = call.argument(1, "train") if call.name.startswith("torchvision.datasets.") else call.argument(99, "train")
    if train is not None and train.value is True:
        edit = file.edit(train.span, "False")
        fix = Fix("Write `train=False`.", FixSafety.UNSAFE, "scores will drop to what they are", edits=(edit,))
    else:
        fix = Fix(f"Give `{item.target}` images of its own: another folder, another split, another part of the list.")
    return Hit(message, item.span, fix, (evidence,))


def _same_loader(file: SourceFile) -> Iterator[Hit]:
    """A loader or trainer that validates on the data of training."""
    for item in file.assignments:
        call = item.call
        if call is None or call.method != "DataLoader" or _side(item.target) != "val" or not call.arguments:
            continue
        data = call.argument(0, "dataset")
        samplers = [call.argument(99, "sampler"), call.argument(99, "batch_sampler")]
        if (
            data is not None
            and _side(data.code) == "train"
            and not any(samplers)
            and re.fullmatch(r"[\w.]+", data.code)
        ):
            yield _trained_on(file, data, f"`{item.target}`")
    for call in file.calls:
        train = call.argument(99, "train_dataset") or call.argument(99, "train_dataloaders")
        val = call.argument(99, "eval_dataset") or call.argument(99, "val_dataloaders")
        if train is not None and val is not None and val.code == train.code and val.code.isidentifier():
            yield _trained_on(file, val, f"`{call.method}`")


def _trained_on(file: SourceFile, data: Argument, what: str) -> Hit:
    names = {item.target for item in file.assignments}
    names |= {part.strip() for target in list(names) for part in target.strip("()").split(",")}
    own = [re.sub(r"train(?:ing)?", word, data.code) for word in ("val", "valid", "validation", "dev", "test")]
    instead = next((name for name in own if name in names and name != data.code), None)
    message = f"{what} validates on `{data.code}`, the data of training"
    if instead is None:
        return Hit(message, data.span, Fix("Give it the validation data."))
    edit = file.edit(data.span, instead)
    return Hit(
        message,
        data.span,
        Fix(f"Write `{instead}`.", FixSafety.UNSAFE, "scores will drop to what they are", edits=(edit,)),
    )


def _same_part(file: SourceFile) -> Iterator[Hit]:
    """`files[:800]` to train on and `files[700:]` to validate on."""
    parts = [(item, found) for item in file.assignments if (found := _SLICE.match(item.code)) and not item.operator]
    for item, found in parts:
        if _side(item.target) != "val":
            continue
        for other, part in parts:
            same = part["name"] == found["name"] and other.function == item.function and _side(other.target) == "train"
            if same and _overlap(part, found):
                message = f"`{item.code}` and `{other.code}` of `{other.target}` overlap"
                yield Hit(message, item.span, Fix("Let one part begin where the other ends."))
                break


def _overlap(one: re.Match[str], other: re.Match[str]) -> bool:
    if (one["low"], one["high"]) == (other["low"], other["high"]):
        return True
    bounds = [text for part in (one, other) for text in (part["low"], part["high"]) if text]
    if not all(text.isdigit() for text in bounds):
        return False
    (low1, high1), (low2, high2) = ((int(p["low"] or 0), int(p["high"] or 10**12)) for p in (one, other))
    return low1 < high2 and low2 < high1


# -- what is done before the split -----------------------------------------------------------------------------------


def _before_the_split(file: SourceFile) -> Iterator[Hit]:
    flow = Flow(file)
    for call in file.calls:
        if call.name not in _SPLITTERS | _SCORERS or not call.arguments:
            continue
        data = call.arguments[1] if call.name in _SCORERS and len(call.arguments) > 1 else call.arguments[0]
        trails = flow.trails(data, call, _starts)
        hit = _fitted(file, call, trails) or _copies(file, call, data, trails) or _neighbours(file, call, data, trails)
        if hit is not None:
            yield hit


def _starts(call: CallSite) -> bool:
    if call.method in ("fit_transform", "fit_resample", "transform"):
        return call.receiver_origin is not None and call.receiver_origin.name.startswith(("sklearn.", "imblearn."))
    made = call.receiver_origin.name if call.receiver_origin is not None else ""
    return call.method == "ConcatDataset" or (call.method == "read" and made == "cv2.VideoCapture")


def _fitted(file: SourceFile, call: CallSite, trails: list[Trail]) -> Hit | None:
    """A scaler, a projection or a sampler that has seen everything."""
    for trail in trails:
        start = trail.start.call
        made = start.receiver_origin.name if start is not None and start.receiver_origin is not None else ""
        if start is None or start.method not in ("fit_transform", "fit_resample", "transform"):
            continue
        if _PER_SAMPLE.search(made) or (start.method == "transform" and not _fitted_on_same(file, start)):
            continue
        learned = (
            "copies of validation images land in training" if start.method == "fit_resample" else "validation is seen"
        )
        message = f"`{made.rpartition('.')[2]}` is fitted on everything before `{call.method}`: {learned}"
        fix = Fix("Split first; then `fit_transform` the training part and `transform` the other.")
        if start.method == "fit_resample":
            fix = Fix("Split first; then resample the training part alone.")
        elif call.name in _SCORERS:
            fix = Fix("Put the scaler into the model: `make_pipeline(scaler, model)`, so that each fold fits its own.")
        evidence = Evidence(f"split here: {' '.join(call.code.split())[:100]}", place(file.path, call.span))
        return Hit(message, start.span if trail.start.path == file.path else call.span, fix, (evidence,))
    return None


def _fitted_on_same(file: SourceFile, transform: CallSite) -> bool:
    """Whether `scaler.fit(x)` stands before `scaler.transform(x)`."""
    given = transform.arguments[0].code if transform.arguments else None
    return any(
        fit.receiver == transform.receiver and fit.function == transform.function and fit.arguments[0].code == given
        for fit in file.calls_to(".fit")
        if fit.arguments
    )


def _copies(file: SourceFile, call: CallSite, data: Argument, trails: list[Trail]) -> Hit | None:
    """Augmented copies beside their originals."""
    fix = Fix("Split the originals first, then augment the training part alone.")
    message = f"augmented copies are made before `{call.method}`: a copy and its original land on both sides"
    for trail in trails:
        start = trail.start.call
        if start is not None and start.method == "ConcatDataset":
            inner = [one for one in file.calls_in(start.span) if one is not start and _DATA.search(one.method)]
            names = [
                item.call
                for item in file.assignments
                if item.call and item.target in start.code and _DATA.search(item.call.method)
            ]
            if any(_alike(one, other) for one in (*inner, *names) for other in (*inner, *names) if one is not other):
                return Hit(message, call.span, fix, (Evidence(start.code[:100], place(file.path, start.span)),))
        joined = any(
            step.method in ("concatenate", "vstack", "cat", "concat") or step.name == "+" for step in trail.steps
        )
        if joined and any(_COPIES.search(name) for name in trail.names) and "cat" not in data.code:
            return Hit(message, call.span, fix, level=Level.WARNING)
    return Hit(message, call.span, fix) if _appended_twice(file, call, data) else None


def _appended_twice(file: SourceFile, call: CallSite, data: Argument) -> bool:
    """`images.append(image)` and `images.append(np.fliplr(image))` in one loop."""
    puts = [one for one in file.calls_to(".append") if one.receiver == data.code and one.arguments]
    plain = {one.arguments[0].code for one in puts if one.function == call.function or not call.function}
    for one in puts:
        origin = one.arguments[0].origin
        changed = origin.call if origin is not None and _CHANGES.search(origin.call.method) else None
        given = {argument.code for argument in changed.arguments} if changed is not None else set()
        if file.loops_around(one.span) and given & (plain - {one.arguments[0].code}):
            return True
    return False


def _neighbours(file: SourceFile, call: CallSite, data: Argument, trails: list[Trail]) -> Hit | None:
    """Frames of a video, tiles of an image, slices of a volume, split one by one."""
    block = file.function_around(call.span)
    if call.name in _SCORERS or _GROUPED.search(block.code if block is not None else file.text):
        return None
    read = any(trail.start.call is not None and trail.start.call.method == "read" for trail in trails)
    names = {data.code, *(name for trail in trails for name in trail.names[:1])}
    kind = next((kind for kind, named in _NEIGHBOURS.items() if any(named.search(name) for name in names)), None)
    kind = "frames" if read else kind
    if kind is None:
        return None
    message = f"`{call.method}` deals out {kind} one by one: neighbours, which are almost equal, land on both sides"
    fix = Fix("Split by video, image or patient: `GroupShuffleSplit(n_splits=1).split(files, groups=sources)`.")
    return Hit(message, call.span, fix, level=Level.WARNING)


# -- settings ---------------------------------------------------------------------------------------------------------


def _settings(file: SourceFile) -> Iterator[Hit]:
    """`train:` and `val:` of a YAML file that name the same place."""
    by_key = {setting.key: setting for setting in file.settings}
    for setting in file.settings:
        above, _, last = setting.key.rpartition(".")
        if last not in ("val", "valid", "validation", "val_dir", "val_path", "val_root", "test"):
            continue
        word = re.sub(r"^(?:val(?:id(?:ation)?)?|test)", "train", last)
        twin = by_key.get(f"{above}.{word}" if above else word)
        if (
            twin is not None
            and isinstance(setting.value, str)
            and setting.value == twin.value
            and re.search(r"[/\\.\w]", setting.value)
        ):
            message = f"{setting.key} is the same as {twin.key}: {setting.value}"
            yield Hit(message, setting.span, Fix(f"Give {setting.key} images of its own."), level=Level.WARNING)


def _examine_plan(plan: Plan) -> Iterator[Finding]:
    paths = {path.key: path for path in plan.fact("paths") if path.key.rpartition(".")[2] in ("train", "val", "test")}
    train = paths.get("data.train")
    others = [path for key, path in paths.items() if key != "data.train"]
    if train is None or not others:
        raise NotApplicable("the run does not name data for both training and validation")
    for other in others:
        mine, theirs = PurePath(train.path), PurePath(other.path)
        if mine != theirs and not theirs.is_relative_to(mine) and not mine.is_relative_to(theirs):
            continue
        how = "is" if mine == theirs else "lies in" if theirs.is_relative_to(mine) else "contains"
        yield Finding(
            "split-leakage",
            Level.WARNING,
            f"{other.key}, {other.given}, {how} {train.key}, {train.given}: the same images are on both sides",
            setting_place(plan, other.key),
            fix=Fix(f"Give {other.key} images that are not below {train.key}."),
        )


RULE = Rule(
    slug="split-leakage",
    family="data",
    title="The same images are used for training and for validation",
    level=Level.ERROR,
    log=absent("a score that is too good looks like a good score"),
    source=SourceFacet(("val", "test", "split", "cross_val"), _examine),
    before=BeforeFacet(Cost.INSTANT, _examine_plan),
    during=absent("a score that is too good looks like a good score"),
    module=__name__,
)
