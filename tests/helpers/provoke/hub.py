"""Failures of hubs, with a server of our own in the place of theirs."""

from __future__ import annotations

import os
import re
from pathlib import Path

from provoke.machinery import case, run_script

_SERVER = """
import http.server, os, tempfile, threading


class Hub(http.server.BaseHTTPRequestHandler):
    def do_HEAD(self):
        self.send_response(int(STATUS))
        self.send_header("X-Error-Code", CODE)
        self.send_header("X-Error-Message", MESSAGE)
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_GET = do_HEAD

    def log_message(self, *arguments):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub)
threading.Thread(target=server.serve_forever, daemon=True).start()
os.environ["HF_ENDPOINT"] = f"http://127.0.0.1:{server.server_port}"
os.environ["HF_HOME"] = tempfile.mkdtemp()
os.environ["NO_PROXY"] = "*"
os.environ.pop("HF_HUB_OFFLINE", None)
"""


def _refused(folder: Path, status: str, code: str, message: str) -> str:
    (folder / "hub.py").write_text(f"STATUS, CODE, MESSAGE = {status!r}, {code!r}, {message!r}\n{_SERVER}")
    lines = ["import hub", "from huggingface_hub import hf_hub_download"]
    lines.append('hf_hub_download("facebook/dinov3-vits16", "model.safetensors", token=False)')
    (folder / "train.py").write_text("\n".join(lines))
    return re.sub(r"http://127\.0\.0\.1:\d+", "https://huggingface.co", run_script(folder, "train.py"))


@case("hub-auth")
def conditions_not_accepted(folder: Path) -> str:
    message = "Access to model facebook/dinov3-vits16 is restricted. You must have access to it and be authenticated."
    return _refused(folder, "401", "GatedRepo", message)


@case("hub-auth")
def repository_not_shown(folder: Path) -> str:
    return _refused(folder, "401", "RepoNotFound", "Repository not found")


@case("hub-offline")
def switched_offline(folder: Path) -> None:
    from huggingface_hub import hf_hub_download

    hf_hub_download("timm/resnet18.a1_in1k", "model.safetensors", cache_dir=folder, local_files_only=True)


@case("hub-offline")
def nobody_answers(folder: Path) -> None:
    import torch

    before = os.environ.get("no_proxy")
    os.environ["no_proxy"] = "*"
    try:
        url = "http://127.0.0.1:9/models/resnet50-0676ba61.pth"
        torch.hub.load_state_dict_from_url(url, model_dir=str(folder), progress=False)
    finally:
        del os.environ["no_proxy"]
        if before is not None:
            os.environ["no_proxy"] = before
