"""A tiny Florence-2 of the real architecture with random weights, saved as the hub has it: no download."""

from __future__ import annotations

from pathlib import Path

import torch
from tokenizers.pre_tokenizers import ByteLevel

__all__ = ["SIDE", "save_florence"]

SIDE = 64
"""Side of its input, in pixels."""
_TOKENS = 5
"""Of an image: one for each cell of the last feature map (stride 32), and their mean."""
_MARKS = (
    *("<od>", "</od>", "<ocr>", "</ocr>"),
    *(f"<loc_{place}>" for place in range(1000)),
    *("<cap>", "</cap>", "<ncap>", "</ncap>", "<dcap>", "</dcap>", "<grounding>", "</grounding>", "<seg>", "</seg>"),
    *("<sep>", "<region_cap>", "</region_cap>", "<region_to_desciption>", "</region_to_desciption>", "<proposal>"),
    *("</proposal>", "<poly>", "</poly>", "<and>"),
)
"""Tokens that Florence-2 adds to those of BART."""
_KINDS = ("phrase_grounding", "pure_text", "description_with_bboxes", "description_with_polygons", "polygons", "bboxes")


def save_florence(folder: Path, *, seed: int = 0) -> Path:
    """Save model and processor; the same seed gives the same weights."""
    from transformers import (
        BartConfig,
        BartTokenizer,
        CLIPImageProcessor,
        Florence2Config,
        Florence2ForConditionalGeneration,
        Florence2Processor,
    )
    from transformers.models.florence2 import Florence2VisionConfig

    letters = ["<s>", "<pad>", "</s>", "<unk>", *sorted(ByteLevel.alphabet()), "<mask>"]
    vocabulary = {token: number for number, token in enumerate(letters)}
    tokenizer = BartTokenizer(vocab=vocabulary, merges=[], extra_special_tokens={"image_token": "<image>"})
    tokenizer.add_tokens(list(_MARKS), special_tokens=True)
    images = CLIPImageProcessor(
        size={"height": SIDE, "width": SIDE}, do_center_crop=False, resample=3,
        image_mean=[0.485, 0.456, 0.406], image_std=[0.229, 0.224, 0.225],
    )  # fmt: skip
    images.image_seq_length = _TOKENS
    post = {kind: {} for kind in (*_KINDS, "description_with_bboxes_or_polygons")} | {"ocr": {"AREA_THRESHOLD": 0.0}}
    processor = Florence2Processor(image_processor=images, tokenizer=tokenizer, post_processor_config=post)
    config = Florence2Config(
        text_config=BartConfig(
            vocab_size=len(tokenizer), d_model=32, encoder_layers=1, decoder_layers=1, encoder_attention_heads=2,
            decoder_attention_heads=2, encoder_ffn_dim=64, decoder_ffn_dim=64, max_position_embeddings=128,
            pad_token_id=1, bos_token_id=0, eos_token_id=2, decoder_start_token_id=2, forced_eos_token_id=2,
        ).to_dict(),
        vision_config=Florence2VisionConfig(
            depths=(1, 1, 1, 1), embed_dim=(8, 16, 16, 32), num_heads=(1, 2, 2, 4), num_groups=(1, 2, 2, 4),
            window_size=4, projection_dim=32, max_position_embeddings=10,
        ).to_dict(),
        image_token_id=tokenizer.image_token_id,
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = Florence2ForConditionalGeneration(config)
        for parameter in model.parameters():  # spread out, so that answers differ from picture to picture
            if parameter.ndim > 1:
                torch.nn.init.normal_(parameter, std=0.3)
    model.tie_weights()
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder
