import torch


def free_gigabytes():
    free, total = torch.cuda.mem_get_info()
    return free / 1024**3, total / 1e9, free / 2**30


def measured(step, image):
    used = []
    for batch in (1, 2):
        torch.cuda.reset_peak_memory_stats()
        step(image.expand(batch, -1, -1, -1))
        used.append(torch.cuda.max_memory_allocated())
    per_image = used[1] - used[0]
    free, _ = torch.cuda.mem_get_info()
    batch_size = int(0.9 * (free - used[0] + per_image) / per_image)
    return batch_size


def rows_that_fit(features):
    free, _ = torch.cuda.mem_get_info()
    bytes_per_row = features.shape[1] * features.element_size()
    max_rows = free // 4 // bytes_per_row
    return max_rows


def log_usage(step, writer):
    max_memory = torch.cuda.max_memory_allocated() / 1024 / 1024
    writer.add_scalar("memory", max_memory, step)


def parameters(model):
    count = sum(p.numel() for p in model.parameters()) / 1e6
    overhead_ms = 3
    return count + overhead_ms
