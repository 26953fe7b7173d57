"""Runs that do not learn what they are meant to, and models that answer nothing."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F

from provoke.machinery import case


@case("stuck-at-chance")
def died_at_once(folder: Path) -> str:
    torch.manual_seed(0)
    images, labels = torch.rand(40, 12), torch.arange(40) % 4
    net = torch.nn.Sequential(torch.nn.Linear(12, 32), torch.nn.ReLU(), torch.nn.Linear(32, 4))
    # As after a step that was far too long: no unit answers any more.
    torch.nn.init.constant_(net[0].bias, -50.0)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    lines = []
    for epoch in range(1, 40):
        logits = net(images)
        loss = F.cross_entropy(logits, labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if epoch > 25:
            accuracy = (logits.argmax(1) == labels).float().mean()
            lines.append(f"Epoch {epoch} - lr: 0.1 - train_loss: {loss.item():.4f} - train_acc: {accuracy.item():.4f}")
    return "\n".join(lines)


@case("stuck-at-chance")
def guessed_labels(folder: Path) -> str:
    generator = torch.Generator().manual_seed(0)
    images, labels = torch.rand(3000, 6, generator=generator), torch.randint(0, 10, (3000,), generator=generator)
    net = torch.nn.Linear(6, 10)
    torch.nn.init.zeros_(net.weight)
    torch.nn.init.zeros_(net.bias)
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
    lines = []
    for epoch in range(6):
        optimizer.zero_grad()
        logits = net(images)
        loss = F.cross_entropy(logits, labels)
        loss.backward()
        optimizer.step()
        right = 100 * (net(images).argmax(1) == labels).float().mean()
        lines.append(f"[{epoch}] Train Loss: {loss.item():.3f} | Val Acc: {right.item():.2f}%")
    return "\n".join(lines)


@case("single-class-prediction")
def everything_background(folder: Path) -> str:
    torch.manual_seed(0)
    masks = (torch.rand(64, 400) < 0.004).long()
    logits = torch.zeros(2, requires_grad=True)
    optimizer = torch.optim.Adam([logits], lr=0.1)
    lines = []
    for epoch in range(6):
        optimizer.zero_grad()
        loss = F.cross_entropy(logits.expand(masks.numel(), 2), masks.flatten())
        loss.backward()
        optimizer.step()
        answer = torch.full_like(masks, int(logits.argmax()))
        scores = [
            ((answer == label) & (masks == label)).sum() / ((answer == label) | (masks == label)).sum()
            for label in (0, 1)
        ]
        lines.append(
            f"epoch {epoch} loss {loss.item():.4f} pixel accuracy {(answer == masks).float().mean().item():.4f}"
        )
        lines.append(f"IoU per class: [{scores[0].item():.4f}, {scores[1].item():.4f}]")
    return "\n".join(lines)


@case("single-class-prediction")
def one_row_of_a_report(folder: Path) -> str:
    from sklearn.metrics import classification_report, confusion_matrix

    truth, answers = [0] * 80 + [1] * 15 + [2] * 5, [0] * 100
    report = classification_report(truth, answers, target_names=["healthy", "scab", "rust"], zero_division=0)
    return f"{report}\n{confusion_matrix(truth, answers)}"


@case("single-class-prediction")
def empty_masks(folder: Path) -> str:
    lines = []
    for epoch in range(1, 6):
        predicted, truth = torch.zeros(8, 32, 32), torch.ones(8, 32, 32)
        dice = (2 * (predicted * truth).sum() + 1e-5) / (predicted.sum() + truth.sum() + 1e-5)
        lines.append(f"INFO: Epoch {epoch}: validation Dice score: {dice.item()}")
    return "\n".join(lines)


@case("detector-empty")
def nothing_above_threshold(folder: Path) -> str:
    from torchvision.models.detection import fasterrcnn_mobilenet_v3_large_320_fpn

    detector = fasterrcnn_mobilenet_v3_large_320_fpn(
        weights=None, weights_backbone=None, num_classes=3, box_score_thresh=0.9
    )
    with torch.no_grad():
        return str(detector.eval()([torch.zeros(3, 64, 64)]))


@case("detector-empty")
def converted_nothing(folder: Path) -> None:
    def box_cxcywh_to_xyxy(x: torch.Tensor) -> torch.Tensor:
        x_c, y_c, w, h = x.unbind(-1)
        return torch.stack([x_c - w / 2, y_c - h / 2, x_c + w / 2, y_c + h / 2], dim=-1)

    box_cxcywh_to_xyxy(torch.as_tensor([]))


@case("detector-empty")
def best_of_nothing(folder: Path) -> None:
    boxes, scores = torch.zeros(0, 4), torch.zeros(0)
    boxes[scores.argmax()]


@case("sam-prompt-format")
def points_without_batch(folder: Path) -> None:
    class PromptEncoder(torch.nn.Module):
        def _embed_points(self, points: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
            padding = torch.zeros((points.shape[0], 1, 2))
            points = torch.cat([points, padding], dim=1)
            return torch.cat([labels, -torch.ones((labels.shape[0], 1))], dim=1)

    PromptEncoder()._embed_points(torch.tensor([[711.0, 455.0], [1578.0, 611.0]]), torch.tensor([1, 1]))


def _sam(width: int, depth: int) -> torch.nn.Module:
    """The names and widths of SAM's image encoder, small enough for a test."""

    class Sam(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.image_encoder = torch.nn.Module()
            self.image_encoder.pos_embed = torch.nn.Parameter(torch.zeros(1, 2, 2, width))
            blocks = [torch.nn.ModuleDict({"norm1": torch.nn.LayerNorm(width)}) for _ in range(depth)]
            self.image_encoder.blocks = torch.nn.ModuleList(blocks)

    return Sam()


@case("sam-variant-mismatch")
def large_into_base(folder: Path) -> None:
    _sam(768, 12).load_state_dict(_sam(1024, 24).state_dict())


@case("sam-variant-mismatch")
def base_into_huge(folder: Path) -> None:
    _sam(1280, 32).load_state_dict(_sam(768, 12).state_dict())


@case("sam-variant-mismatch")
def unknown_to_the_registry(folder: Path) -> None:
    sam_model_registry = dict.fromkeys(("default", "vit_h", "vit_l", "vit_b"), _sam)
    sam_model_registry["vit_t"](768, 12)
