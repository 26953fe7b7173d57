import os

os.environ["HF_TOKEN"] = "<your token>"
ACCESS = "hf_abcdefghijklmnopqrstuvwxyzABCDEFGH"
os.environ["HUGGING_FACE_HUB_TOKEN"] = ACCESS
