import os

from huggingface_hub import login, snapshot_download

TOKEN = os.environ["HF_TOKEN"]
login(token=TOKEN)
folder = snapshot_download("facebook/sam3", token=True)
tokenizer_token = "[CLS]"
hf_home = "hf_cache"
