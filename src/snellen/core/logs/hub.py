"""What messages of model hubs name: the repository, the file, the host."""

from __future__ import annotations

import re

from snellen.core.log import Log

__all__ = ["HOSTS", "TRACKERS", "repository", "target_file"]

HOSTS = re.compile(
    r"(?:^|[\s/'\"@.])(?:(?:cdn-lfs[\w-]{0,20}\.|cas-bridge[\w.-]{0,30}\.)?(?:huggingface\.co|hf\.co)|hf-mirror\.com|github\.com"
    r"|(?:raw|objects|release-assets)\.githubusercontent\.com|api\.github\.com|download\.pytorch\.org|dl\.fbaipublicfiles\.com"
    r"|download\.openmmlab\.com|drive\.google\.com|docs\.google\.com|(?:www\.)?modelscope\.cn|(?:www\.)?kaggle\.com"
    r"|storage\.googleapis\.com|zenodo\.org|data\.lip6\.fr|ultralytics\.com)\b",
    re.IGNORECASE,
)
"""Hosts that weights are fetched from."""

TRACKERS = re.compile(
    r"wandb\.ai|\bwandb\b|\bmlflow\b|comet\.com|comet\.ml|comet_ml|neptune\.ai|\bneptune\b|clear\.ml|\bclearml\b|\bvisdom\b"
    r"|swanlab",
    re.IGNORECASE,
)
"""Names of experiment trackers and their hosts."""

_ID = r"(?P<id>[\w.-]{1,96}/[\w.-]{1,96}?)"
_NAME = r"(?P<id>[\w-][\w.-]{0,95}(?:/[\w.-]{1,96})?)"
_REPOSITORY = (
    re.compile(
        rf"(?:https?://[\w.:-]{{1,100}}|url: )/(?:api/(?:models|datasets|spaces)/)?{_ID}"
        r"/(?:resolve|revision|tree|raw|blob)/"
    ),
    re.compile(rf"https://huggingface\.co/(?!docs/|settings/|models\b|join\b|api/){_ID}(?=[\s.,'\")]|$)"),
    re.compile(rf"(?:to model|repo_id:?|Repo id:?|looks like|access model) ['\"]?{_NAME}['\"]?(?= is | could|,|\s|$)"),
    re.compile(rf"(?:from_pretrained|hf_hub_download|snapshot_download|pipeline)\([^\n]{{0,80}}?['\"]{_NAME}['\"]"),
)
_CACHED = re.compile(r"models--(?P<owner>[\w.-]{1,96}?)--(?P<name>[\w.-]{1,96})")
_TARGET = re.compile(r'Downloading: "(?P<url>https?://[^"\s]{1,300})" to (?P<path>\S{1,300})')


def repository(log: Log) -> str | None:
    """The repository of the hub that a log's messages are about.

    Example:
        >>> from snellen.core.log import LogLine
        >>> url = "https://huggingface.co/facebook/sam2-hiera-large/resolve/main/config.json"
        >>> repository(Log((LogLine(1, f"Cannot access gated repo for url {url}."),)))
        'facebook/sam2-hiera-large'
    """
    texts = [error.text for error in log.exceptions] + [line.text for line in log.lines]
    texts += [frame.code for error in log.exceptions for frame in error.frames]
    for pattern in _REPOSITORY:
        for text in texts:
            if found := pattern.search(text):
                return found["id"].removesuffix(".git")
    cached = next((found for text in texts if (found := _CACHED.search(text))), None)
    return f"{cached['owner']}/{cached['name']}" if cached else None


def target_file(log: Log) -> tuple[str, str] | None:
    """Where `torch.hub` said that it fetches a file from, and to which path."""
    found = next((match for line in log.lines if (match := _TARGET.search(line.text))), None)
    return (found["url"], found["path"].rstrip(".")) if found else None
