"""Florence-2 through transformers: a picture is looked at once, and asked as often as one likes."""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from PIL import Image
from safetensors import SafetensorError
from torch import Tensor, nn

from snellen.errors import MissingExtraError, WeightsError
from snellen.models.backbones.fetching import hub_access, weights_unreachable
from snellen.models.captioning.locations import Region, clean_text, parse_regions
from snellen.models.captioning.prompts import Prompt

__all__ = ["Answer", "Captioner", "load_captioner"]

_ORIGINAL: Final = "microsoft/"
_CONVERTED: Final = "florence-community/"


@dataclass(frozen=True, slots=True)
class Answer:
    """What was answered to one prompt.

    Args:
        text: Without marks of beginning and end.
        regions: Places in it, in pixels.
        complete: Whether it ended itself, and not because it may not be longer.
    """

    text: str
    regions: tuple[Region, ...] = ()
    complete: bool = True


class Captioner:
    """A Florence-2 that answers prompts about pictures.

    Args:
        name: Of its repository or folder.
        network: In evaluation mode.
        processor: With its tokenizer and its preprocessing.
    """

    def __init__(self, name: str, network: Any, processor: Any) -> None:
        self.name, self.network, self.processor = name, network, processor
        size = processor.image_processor.size
        self.side = int(size["height"])
        self.width = int(network.config.vision_config.projection_dim)
        settings = (processor.post_processor_config or {}).get("phrase_grounding", {})
        self.banned = frozenset(settings.get("banned_grounding_tokens", ()))
        self.fingerprint = _fingerprint(network, processor)

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        place: torch.device = self.network.device
        return place

    def prepare(self, picture: Image.Image) -> Tensor:
        """A picture as the network takes it, float32 of shape `(3, side, side)`.

        Args:
            picture: Upright, of any mode that Pillow converts to RGB.
        """
        if picture.mode == "P" and "transparency" in picture.info:
            picture = picture.convert("RGBA")
        pixels: Tensor = self.processor.image_processor(images=[picture.convert("RGB")], return_tensors="pt")[
            "pixel_values"
        ]
        return pixels[0]

    @torch.inference_mode()
    def look(self, pixels: Tensor) -> Tensor:
        """Tokens of pictures, which every prompt starts from.

        Args:
            pixels: Shape `(B, 3, side, side)`, on the network's device.

        Returns:
            Shape `(B, tokens, width)`.
        """
        tokens: Tensor = self.network.get_image_features(pixel_values=pixels.to(self.network.dtype)).pooler_output
        return tokens

    @torch.inference_mode()
    def vectors(self, tokens: Tensor) -> Tensor:
        """One vector for each picture: the mean of its tokens, float32 of shape `(B, width)`."""
        return tokens.float().mean(dim=1)

    @torch.inference_mode()
    def ask(self, tokens: Tensor, prompt: Prompt, *, max_tokens: int, beams: int) -> list[list[int]]:
        """Answers as numbers of tokens, on the CPU, without the padding behind them.

        Args:
            tokens: From `look`.
            prompt: The question, the same for all.
            max_tokens: Longer answers are cut.
            beams: Of the search; 1 takes the likeliest token each time.
        """
        tokenizer, config = self.processor.tokenizer, self.network.config
        question = self._question(prompt, tokens.shape[1])
        numbers = torch.tensor([tokenizer(question, add_special_tokens=False)["input_ids"]] * len(tokens))
        numbers = numbers.to(tokens.device)
        embedded = self.network.get_input_embeddings()(numbers)
        places = (numbers == config.image_token_id).unsqueeze(-1)
        embedded = embedded.masked_scatter(places, tokens.to(embedded.dtype))
        attention = torch.ones_like(numbers)
        encoded = self.network.get_encoder()(inputs_embeds=embedded, attention_mask=attention)
        found = self.network.generate(
            encoder_outputs=encoded, attention_mask=attention, max_new_tokens=max_tokens, num_beams=beams,
            do_sample=False,
        )  # fmt: skip
        padding = tokenizer.pad_token_id
        return [[number for number in row if number != padding] for row in found.cpu().tolist()]

    def read(self, numbers: list[int], prompt: Prompt, size: tuple[int, int], *, max_tokens: int) -> Answer:
        """An answer in words and pixels.

        Args:
            numbers: From `ask`.
            prompt: The question.
            size: `(width, height)` of the picture.
            max_tokens: As given to `ask`.
        """
        tokenizer = self.processor.tokenizer
        text: str = tokenizer.decode(numbers, skip_special_tokens=False, clean_up_tokenization_spaces=False)
        # The first token is the decoder's start; where an answer is cut, the last one is an end that was forced on it.
        complete = len(numbers) <= max_tokens
        banned = self.banned if prompt.token == "<CAPTION_TO_PHRASE_GROUNDING>" else frozenset()  # noqa: S105
        return Answer(clean_text(text), parse_regions(text, prompt.kind, size, banned=banned), complete)

    def _question(self, prompt: Prompt, count: int) -> str:
        """The text that the processor makes of a prompt, with a place for each token of the picture."""
        processor = self.processor
        if prompt.text:
            said = processor.task_prompts_with_input[prompt.token].format(input=prompt.text)
        else:
            said = processor.task_prompts_without_inputs[prompt.token]
        tokenizer = processor.tokenizer
        return f"{processor.image_token * count}{tokenizer.bos_token}{said}{tokenizer.eos_token}"


def load_captioner(
    repository: str, *, weights: Path | None = None, pretrained: bool = True, dtype: torch.dtype = torch.float32
) -> Captioner:
    """Build a Florence-2. Code of a repository is never run.

    Args:
        repository: On the Hugging Face hub; its cache is asked first.
        weights: A local folder instead, as `save_pretrained` leaves it.
        pretrained: `False` leaves the weights at random, which is good for tests only.
        dtype: Of its numbers.

    Raises:
        WeightsError: It cannot be had, read or fitted; with every way that works without a network.
        MissingExtraError: transformers is not installed.
    """
    library = _transformers()
    source, name = (str(weights), weights.name) if weights is not None else (repository, repository)
    _refuse_odd_folder(weights)
    if weights is None and repository.startswith(_ORIGINAL):
        raise WeightsError(
            f"{repository} is the original release, which needs code of its own to be run",
            hint=f"{_CONVERTED}{repository.removeprefix(_ORIGINAL)} holds the same weights for transformers",
        )
    local = {"local_files_only": True} if weights is not None else {}
    try:
        with hub_access(), _quiet():
            processor = library.Florence2Processor.from_pretrained(source, trust_remote_code=False, **local)
            if pretrained:
                network, report = library.Florence2ForConditionalGeneration.from_pretrained(
                    source, use_safetensors=True, output_loading_info=True, dtype=dtype, **local
                )
                _refuse_holes(report, source)
            else:
                config = library.Florence2Config.from_pretrained(source, **local)
                network = library.Florence2ForConditionalGeneration(config).to(dtype)
    except (OSError, ValueError, RuntimeError, KeyError, TypeError, AttributeError, SafetensorError) as error:
        raise _unloadable(repository, weights, error) from error
    return Captioner(name, network.eval().requires_grad_(requires_grad=False), processor)


def _transformers() -> Any:
    try:
        library = importlib.import_module("transformers")
        library.Florence2ForConditionalGeneration  # noqa: B018 - older releases lack it
    except (ImportError, AttributeError) as error:
        raise MissingExtraError(
            "transformers with Florence-2 is not installed",
            hint="pip install 'snellen[transformers]' 'transformers>=4.56'",
            slug="missing-package",
        ) from error
    return library


def _refuse_odd_folder(weights: Path | None) -> None:
    if weights is None:
        return
    if not weights.is_dir():
        what = "a file" if weights.exists() else "not there"
        raise WeightsError(
            f"{weights} is {what}, expected a folder with config.json, model.safetensors and the tokenizer's files",
            hint="hf download florence-community/Florence-2-base --local-dir FOLDER",
            slug="missing-checkpoint",
        )
    try:
        kind = json.loads((weights / "config.json").read_text(encoding="utf-8")).get("model_type")
    except (OSError, ValueError, AttributeError) as error:
        raise WeightsError(f"{weights} holds no readable config.json", slug="missing-checkpoint") from error
    if kind != "florence2":
        raise WeightsError(
            f"{weights} holds a model of the type {kind}, expected florence2", slug="state-dict-mismatch"
        )


def _refuse_holes(report: Any, source: str) -> None:
    """A weight that the file lacks would be random, and nobody would see it."""
    missing, odd = sorted(report["missing_keys"]), sorted(map(str, report["mismatched_keys"]))
    if missing or odd:
        first = (missing or odd)[0]
        raise WeightsError(
            f"{source} does not fit Florence-2: {len(missing)} weights are missing and {len(odd)} of another shape, "
            f"{first} for one",
            hint="florence-community/Florence-2-base is a release for transformers",
            slug="state-dict-mismatch",
        )


def _unloadable(repository: str, weights: Path | None, error: Exception) -> WeightsError:
    if weights is not None:
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        return WeightsError(
            f"{weights} cannot be read as Florence-2: {reason}",
            hint=f"fetch it again: hf download {repository} --local-dir FOLDER",
            slug="corrupt-checkpoint",
        )
    unreachable = weights_unreachable(repository, repository, error)
    if unreachable.slug != "hub-offline":
        return unreachable
    return WeightsError(
        unreachable.message,
        hint=f"where there is a network: hf download {repository} --local-dir FOLDER, then model.weights: FOLDER; "
        f"or copy HF_HOME here; or a mirror: HF_ENDPOINT=https://...",
        slug="hub-offline",
    )


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """No bars and no advice of transformers: what matters is said here."""
    logging = importlib.import_module("transformers.utils.logging")
    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()


def _fingerprint(network: nn.Module, processor: Any) -> str:
    digest = hashlib.sha256(repr(network).encode())
    digest.update(str(sorted(processor.image_processor.to_dict().items(), key=lambda item: item[0])).encode())
    digest.update(json.dumps(processor.tokenizer.get_vocab(), sort_keys=True).encode())
    for name, value in network.state_dict().items():
        digest.update(name.encode())
        digest.update(value.contiguous().cpu().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()[:16]
