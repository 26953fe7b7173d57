"""Attention inside windows of a video: where the windows lie, what may see what, and the attention itself.

Videos are `(B, D, H, W, C)` with D frames; tokens of a window run by frame, row, column.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = [
    "Size",
    "WindowAttention",
    "Windows",
    "from_windows",
    "relative_position_index",
    "shift_masks",
    "sine_positions",
    "to_windows",
]

Size = tuple[int, int, int]
"""Frames, rows, columns."""

_HIDDEN = -100.0
"""Added to the score of a pair that may not see each other."""
_MOST_SCORES = 2**27
"""Scores in one call of the attention, 512 MiB in float32; windows beyond it take another call."""


@dataclass(frozen=True, slots=True)
class Windows:
    """How a video is cut into windows.

    Args:
        size: Of one window.
        shift: How far the windows are moved; 0 along an axis that holds one window.
        grid: Number of windows along each axis.
    """

    size: Size
    shift: Size
    grid: Size

    @classmethod
    def fit(cls, video: Size, window: Size, shift: Size) -> Windows:
        """Windows for a video of `video`; an axis not longer than the window is one window, which is not moved.

        Example:
            >>> Windows.fit((4, 10, 8), window=(6, 4, 4), shift=(3, 2, 2))
            Windows(size=(4, 4, 4), shift=(0, 2, 2), grid=(1, 3, 2))
        """
        size, moved, grid = [], [], []
        for side, wanted, offset in zip(video, window, shift, strict=True):
            alone = side <= wanted
            size.append(side if alone else wanted)
            moved.append(0 if alone else offset)
            grid.append(1 if alone else math.ceil(side / wanted))
        return cls(_size(size), _size(moved), _size(grid))

    @property
    def count(self) -> int:
        """Number of windows."""
        return math.prod(self.grid)

    @property
    def shifted(self) -> bool:
        """Whether any axis is moved."""
        return any(self.shift)

    def kinds(self, device: torch.device) -> Tensor:
        """Which of `shift_masks` each window takes, shape `(count,)`: only the last along an axis is cut in two."""
        last = [torch.arange(count, device=device) == count - 1 for count in self.grid]
        return (4 * last[0].view(-1, 1, 1) + 2 * last[1].view(-1, 1) + 1 * last[2]).flatten()


def _size(values: list[int]) -> Size:
    frames, rows, columns = values
    return frames, rows, columns


def to_windows(video: Tensor, windows: Windows) -> Tensor:
    """Cut a video, after zeros have filled it up at the end of each axis and it has been rolled by the shift.

    Args:
        video: Shape `(B, D, H, W, C)`.
        windows: How.

    Returns:
        Shape `(B * windows, N, C)`, the windows of one video next to each other.
    """
    missing = [n * side - had for n, side, had in zip(windows.grid, windows.size, video.shape[1:4], strict=True)]
    if any(missing):
        video = F.pad(video, (0, 0, 0, missing[2], 0, missing[1], 0, missing[0]))
    if windows.shifted:
        video = video.roll([-offset for offset in windows.shift], dims=(1, 2, 3))
    (d, h, w), (nd, nh, nw) = windows.size, windows.grid
    batch, channels = video.shape[0], video.shape[-1]
    cut = video.reshape(batch, nd, d, nh, h, nw, w, channels).permute(0, 1, 3, 5, 2, 4, 6, 7)
    return cut.reshape(batch * windows.count, d * h * w, channels)


def from_windows(cut: Tensor, windows: Windows, video: Size) -> Tensor:
    """Undo `to_windows`.

    Args:
        cut: Shape `(B * windows, N, C)`.
        windows: How it was cut.
        video: Size before.

    Returns:
        Shape `(B, D, H, W, C)`.
    """
    (d, h, w), (nd, nh, nw) = windows.size, windows.grid
    joined = cut.reshape(-1, nd, nh, nw, d, h, w, cut.shape[-1]).permute(0, 1, 4, 2, 5, 3, 6, 7)
    joined = joined.reshape(-1, nd * d, nh * h, nw * w, cut.shape[-1])
    if windows.shifted:
        joined = joined.roll(windows.shift, dims=(1, 2, 3))
    return joined[:, : video[0], : video[1], : video[2]]


def shift_masks(size: Size, shift: Size, *, device: torch.device | None = None) -> Tensor:
    """What is added to the scores inside shifted windows, for the eight kinds of `Windows.kinds`.

    Rolling brings pixels of opposite borders into the last window along an axis; they must not see each other.

    Args:
        size: Of a window.
        shift: Of the windows.
        device: Where to make them.

    Returns:
        Shape `(8, N, N)`, 0 or -100.

    Example:
        >>> shift_masks((1, 1, 2), (0, 0, 1))[1].tolist()
        [[0.0, -100.0], [-100.0, 0.0]]
    """
    # Beyond the cut lie what was rolled in; an axis that is not shifted has no cut.
    axes = [
        torch.arange(side, device=device) >= (side - offset if offset else side)
        for side, offset in zip(size, shift, strict=True)
    ]
    frames, rows, columns = (axis.long() for axis in axes)
    masks = []
    for kind in range(8):
        deep, low, right = kind >> 2 & 1, kind >> 1 & 1, kind & 1
        side = (deep * 4 * frames).view(-1, 1, 1) + (low * 2 * rows).view(-1, 1) + right * columns
        label = side.flatten()
        masks.append(torch.where(label.unsqueeze(0) == label.unsqueeze(1), 0.0, _HIDDEN))
    return torch.stack(masks)


def relative_position_index(window: Size) -> Tensor:
    """Which row of the table of biases belongs to each pair of tokens.

    Returns:
        Shape `(N, N)`, int64.

    Example:
        >>> relative_position_index((1, 1, 2)).tolist()
        [[1, 0], [2, 1]]
    """
    places = torch.stack(torch.meshgrid(*(torch.arange(side) for side in window), indexing="ij")).flatten(1)
    frames, rows, columns = places.unsqueeze(2) - places.unsqueeze(1)
    _, height, width = window
    frames, rows, columns = frames + window[0] - 1, rows + height - 1, columns + width - 1
    index: Tensor = (frames * (2 * height - 1) + rows) * (2 * width - 1) + columns
    return index


def sine_positions(height: int, width: int, channels: int) -> Tensor:
    """Sines and cosines of the position in a window, half of the channels for the row, half for the column.

    Returns:
        Shape `(1, H * W, C)`.

    Source: Vaswani et al., arXiv:1706.03762; in two dimensions Carion et al., arXiv:2005.12872.
    """
    half = channels // 2
    wavelength = 10000 ** (2 * torch.div(torch.arange(half, dtype=torch.float32), 2, rounding_mode="floor") / half)

    def along(side: int) -> Tensor:
        place = torch.arange(1, side + 1, dtype=torch.float32)
        angle = (place / (side + 1e-6) * 2 * math.pi).unsqueeze(1) / wavelength
        return torch.stack((angle[:, 0::2].sin(), angle[:, 1::2].cos()), dim=2).flatten(1)

    rows = along(height).unsqueeze(1).expand(-1, width, -1)
    columns = along(width).unsqueeze(0).expand(height, -1, -1)
    return torch.cat((rows, columns), dim=2).reshape(1, height * width, 2 * half)


class WindowAttention(nn.Module):
    """Attention of the tokens of a window to each other, and if wanted of one half of its frames to the other.

    Args:
        channels: C.
        window: The largest window; smaller ones take the first rows and columns of its table of biases.
        heads: Number of heads; divides `channels`.
        mutual: Also let each token of the first frame of a window of two look at the second frame and the other way
            round: this aligns the frames implicitly.

    Shapes: `(B * windows, N, C)` in and out.

    Source: Liang et al., VRT: A Video Restoration Transformer, arXiv:2201.12288, section 3.2.
    """

    relative_position_index: Tensor
    position_bias: Tensor

    def __init__(self, channels: int, window: Size, heads: int, *, mutual: bool) -> None:
        super().__init__()
        self.heads = heads
        self.mutual = mutual
        distances = math.prod(2 * side - 1 for side in window)
        self.relative_position_bias_table = nn.Parameter(torch.zeros(distances, heads))
        self.register_buffer("relative_position_index", relative_position_index(window))
        self.qkv_self = nn.Linear(channels, 3 * channels)
        self.proj = nn.Linear(channels * (2 if mutual else 1), channels)
        if mutual:
            self.register_buffer("position_bias", sine_positions(window[1], window[2], channels))
            self.qkv_mut = nn.Linear(channels, 3 * channels)
        nn.init.trunc_normal_(self.relative_position_bias_table, std=0.02)
        self._cached: tuple[tuple[int, ...], Tensor] | None = None

    def forward(self, tokens: Tensor, masks: Tensor | None = None, kinds: Tensor | None = None) -> Tensor:
        """Attend.

        Args:
            tokens: Shape `(B * windows, N, C)`.
            masks: What may not see what, shape `(K, N, N)`.
            kinds: Which of the masks each window takes, shape `(windows,)`.
        """
        length = tokens.shape[1]
        query, key, value = self._split(self.qkv_self(tokens))
        attended = _joined(_attend(query, key, value, self.position_scores(length), masks, kinds))
        if self.mutual:
            half = length // 2
            query, key, value = self._split(self.qkv_mut(tokens + self.position_bias.repeat(1, 2, 1)))
            # Each frame as heads of its own, `(B, heads * 2, N / 2, c)`, the queries in exchanged order.
            query = torch.unflatten(query, 2, (2, half)).flip(2).flatten(1, 2)
            key, value = (torch.unflatten(part, 2, (2, half)).flatten(1, 2) for part in (key, value))
            seen = _attend(query, key, value, None, None if masks is None else masks[:, :half, :half], kinds)
            seen = torch.unflatten(seen, 1, (self.heads, 2)).flatten(2, 3)
            attended = torch.cat((_joined(seen), attended), dim=2)
        projected: Tensor = self.proj(attended)
        return projected

    def train(self, mode: bool = True) -> WindowAttention:
        """Switch between training and inference; what was kept for inference is made anew."""
        self._cached = None
        super().train(mode)
        return self

    def position_scores(self, length: int) -> Tensor:
        """What is added to the scores for the distance of two tokens, shape `(heads, N, N)`.

        At inference it is looked up once. Keeping a tensor on a module changes what a compiled graph has seen, and
        fake or inference tensors must not outlive their mode: in these cases it is looked up again.
        """
        table = self.relative_position_bias_table
        kept = not (
            self.training
            or torch.is_grad_enabled()
            or torch.compiler.is_compiling()
            or type(table) is not nn.Parameter
            or table.is_inference()
            or table.is_meta
        )
        if not kept:
            return self._looked_up(length)
        state = (length, table.data_ptr(), table._version)
        if self._cached is None or self._cached[0] != state:
            self._cached = (state, self._looked_up(length))
        return self._cached[1]

    def _looked_up(self, length: int) -> Tensor:
        rows = self.relative_position_index[:length, :length].flatten()
        return self.relative_position_bias_table[rows].view(length, length, self.heads).permute(2, 0, 1).contiguous()

    def _split(self, mixed: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values, `(B * windows, heads, N, C / heads)` each, from `(B * windows, N, 3 * C)`."""
        query, key, value = torch.unflatten(mixed, 2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)
        return query, key, value


def _joined(attended: Tensor) -> Tensor:
    """`(B * windows, heads, N, c)` to `(B * windows, N, heads * c)`."""
    return attended.transpose(1, 2).flatten(2)


def _attend(
    query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None, masks: Tensor | None, kinds: Tensor | None
) -> Tensor:
    """Attention of `(B * windows, heads, N, c)`, in calls whose scores fit a bounded memory."""
    count, heads, length, _ = query.shape
    step = max(1, _MOST_SCORES // (heads * length * length))
    of_window = None if kinds is None else kinds.repeat(count // len(kinds))
    parts = []
    for start in range(0, count, step):
        part = slice(start, start + step)
        added = None if bias is None else bias.unsqueeze(0).to(query.dtype)
        if masks is not None and of_window is not None:
            mask = masks.to(query.dtype)[of_window[part]].unsqueeze(1)
            added = mask if added is None else added + mask
        parts.append(F.scaled_dot_product_attention(query[part], key[part], value[part], attn_mask=added))
    return parts[0] if len(parts) == 1 else torch.cat(parts)
