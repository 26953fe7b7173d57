import torch


def report(model):
    weights = sum(p.numel() * p.element_size() for p in model.parameters())
    model_size_gb = weights / 1024**3
    optimizer_size_gb = model_size_gb * 2
    activation_size_gb = 10
    total_gpu_memory_gb = model_size_gb + optimizer_size_gb + activation_size_gb
    available = torch.cuda.get_device_properties(0).total_memory / 1024**3
    if total_gpu_memory_gb > available:
        print(f"needs {total_gpu_memory_gb:.1f} GB, there are {available:.1f}")
