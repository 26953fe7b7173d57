import os

from huggingface_hub import hf_hub_download, login
from transformers import AutoModel

login("hf_abcdefghijklmnopqrstuvwxyzABCDEFGH")
weights = hf_hub_download("facebook/sam3", "model.safetensors", token="hf_xxxxxxxxxxxxxxxx")
model = AutoModel.from_pretrained("facebook/sam3", use_auth_token="YOUR_TOKEN")
print(os.getcwd())
