"""Numbers of training loops, whatever the framework, become one kind of record."""

from __future__ import annotations

import math

import pytest

from snellen.core.log import MetricRecord
from snellen.explain.parse import parse


def records(text: str) -> tuple[MetricRecord, ...]:
    return parse(f"{text}\n").metrics


LINES = {
    "mmdetection": (
        "2021-08-18 20:01:10,257 - mmdet - INFO - Epoch [1][50/5808]\tlr: 1.000e-02, memory: 8104, loss: 1.6360",
        {"loss": 1.636, "lr": 0.01, "memory": 8104},
        (1, 50, ""),
    ),
    "mmengine": (
        "2023/04/17 22:39:05 - mmengine - INFO - Epoch(train)  [1][ 600/1879]  loss: 3.5966  top1_acc: 0.5",
        {"loss": 3.5966, "top1_acc": 0.5},
        (1, 600, "train"),
    ),
    "mmengine validation": (
        "2023/04/17 22:39:05 - mmengine - INFO - Epoch(val) [3][199/199]    aAcc: 0.0000, mIoU: 0.0000",
        {"aAcc": 0, "mIoU": 0},
        (3, 199, "val"),
    ),
    "detectron2": (
        "[11/14 13:10:05 d2.utils.events]:  eta: 0:01:01  iter: 79  total_loss: 1.596  lr: 0.000040  max_mem: 3001M",
        {"total_loss": 1.596, "max_mem": 3001},
        (None, 79, ""),
    ),
    "timm": (
        "Train: 12 [  50/1251 (  4%)]  Loss: 6.94 (6.95)  Time: 0.5s,  500.1/s  LR: 1.000e-05  Data: 0.01 (0.02)",
        {"Loss": 6.94, "LR": 1e-5},
        (12, 50, "train"),
    ),
    "torchvision's examples": (
        "Test: [ 10/196]\tTime  0.280 ( 2.259)\tLoss 1.2925e+00 (9.7772e-01)\tAcc@1  68.75 ( 75.39)",
        {"Loss": 1.2925, "Acc@1": 68.75},
        (None, 10, "test"),
    ),
    "basicsr": (
        "2022-12-29 10:43:28,986 INFO: [Retin..][epoch:  8, iter:   1,500, lr:(2.000e-04,)]l_pix: 1.0436e-01 ",
        {"l_pix": 0.10436},
        (8, 1500, ""),
    ),
    "Trainer of transformers": (
        "{'loss': '0.5', 'grad_norm': 1.25, 'learning_rate': 5e-05, 'epoch': 0.1}",
        {"loss": 0.5, "grad_norm": 1.25, "learning_rate": 5e-5},
        (0, None, ""),
    ),
    "transformers' evaluation": (
        "{'eval_loss': nan, 'eval_accuracy': 0.1}",
        {"eval_accuracy": 0.1},
        (None, None, "val"),
    ),
    "Keras": (
        "100/100 [=====] - 5s 50ms/step - loss: 0.69 - accuracy: 0.5 - val_loss: 0.7 - val_accuracy: 0.4",
        {"loss": 0.69, "val_accuracy": 0.4},
        (None, None, ""),
    ),
    "Lightning": (
        "Epoch 3:  45%|####      | 45/100 [00:10<00:12,  4.50it/s, v_num=0, train_loss=0.310]",
        {"train_loss": 0.31},
        (3, 45, "train"),
    ),
    "PyTorch's MNIST example": (
        "Train Epoch: 1 [25600/60000 (43%)]\tLoss: 2.233992\tLR: 0.1",
        {"Loss": 2.233992},
        (1, 25600, "train"),
    ),
    "its test": (
        "Test set: Average loss: 2.9473, Accuracy: 1000/10000 (10.00%)",
        {"loss": 2.9473, "Accuracy": 10.0},
        (None, None, "test"),
    ),
    "percentages": (
        "# Epoch: 001/010 | Train: 10.000% | Loss: 2.520%",
        {"Train": 10, "Loss": 2.52},
        (1, None, "train"),
    ),
    "ultralytics without its header": (
        "       1/20      4.28G     0.8296      1.756      1.274    73   640:  87%|####| 220/253 [02:21<00:08]",
        {"box_loss": 0.8296, "cls_loss": 1.756, "GPU_mem": 4.28 * 1024},
        (1, None, ""),
    ),
    "a record": (
        '{"mode": "val", "epoch": 4, "iter": 50, "loss": {"cls": 1.5}, "mIoU": "nan"}',
        {"loss/cls": 1.5},
        (4, 50, "val"),
    ),
    "nnU-Net": ("2024-05-01 10:00:00.123456: train_loss -0.1234", {"train_loss": -0.1234}, (None, None, "train")),
}


@pytest.mark.parametrize(("line", "values", "place"), LINES.values(), ids=LINES)
def test_one_line(line: str, values: dict[str, float], place: tuple[int | None, int | None, str]) -> None:
    (record,) = records(line)
    assert {key: record.values[key] for key in values} == pytest.approx(values)
    assert (record.epoch, record.step, record.split) == place


def test_a_table_of_ultralytics() -> None:
    train, val = records(
        "      Epoch    GPU_mem   box_loss   cls_loss  Instances       Size\n"
        "      3/100      4.28G      1.175        nan        104        640: 100%|####| 8/8 [00:01<00:00]\n"
        "                 Class     Images  Instances      Box(P          R      mAP50  mAP50-95): 100%|####|\n"
        "                   all        128        929       0.64      0.537      0.605      0.446\n"
    )
    assert (train.epoch, train.values["box_loss"]) == (3, 1.175)
    assert math.isnan(train.values["cls_loss"])
    assert (val.split, val.values["mAP50"], val.values["P"]) == ("val", 0.605, 0.64)


def test_drawn_tables() -> None:
    classes, summary = records(
        "+---+\n| Class | IoU | Acc |\n+---+\n| back | 0.0 | nan |\n+------+-----+-----+\n"
        "INFO - Summary:\n| aAcc | mIoU |\n|------|------|\n| 81.5 | 40.2 |\n"
    )
    assert classes.values["IoU.back"] == 0
    assert math.isnan(classes.values["Acc.back"])
    assert summary.values == {"aAcc": 81.5, "mIoU": 40.2}


def test_comma_separated_values() -> None:
    first, second = records("epoch,step,train/loss,val/loss\n0,99,0.5,\n1,199,nan,0.7")
    assert (first.epoch, first.step, dict(first.values)) == (0, 99, {"epoch": 0, "step": 99, "train/loss": 0.5})
    assert math.isnan(second.values["train/loss"])


def test_text_and_tracebacks_report_nothing() -> None:
    assert records("the model weighs 3 kilos\nloading 12 files\nversion 2.1.0") == ()
    assert (
        records('Traceback (most recent call last):\n  File "a.py", line 1, in f\n    loss = 3\nValueError: loss 5')
        == ()
    )


def test_the_series_of_a_name() -> None:
    log = parse("epoch 1 loss: 2.5 val_loss: 3\nepoch 2 loss: 1.5 val_loss: 4\nepoch 3: nothing\n")
    assert [value for _, value in log.series("^loss$")] == [2.5, 1.5]
    assert [record.epoch for record, _ in log.series("val_loss")] == [1, 2]
    assert log.series("accuracy") == ()
