import torch
from transformers import AutoImageProcessor, AutoModel

processor = AutoImageProcessor.from_pretrained("facebook/dinov2-base")
model = AutoModel.from_pretrained("facebook/dinov2-base").cuda()


def embed(images):
    outputs = []
    for image in images:
        inputs = processor(images=image, return_tensors="pt").to("cuda")
        out = model(**inputs)
        outputs.append(out.pooler_output)
    return outputs


def masks(network, paths, read):
    probabilities = []
    with torch.no_grad():
        for path in paths:
            logits = network(read(path).cuda())
            probabilities.append(torch.sigmoid(logits))
    maps = [network(read(path).cuda()) for path in paths]
    return probabilities, maps
