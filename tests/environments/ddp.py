"""Training across nodes with torchrun: learns the sum of eight numbers, step by step.

Saves a checkpoint after each step and continues from it. Prints `rank R of W on NODE, attempt A,
from step S` once for each process, then `step N loss L` from rank 0.
"""

import os
import sys
import time
from pathlib import Path

import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

STEPS = int(sys.argv[1])
PAUSE_SECONDS = float(sys.argv[2])
CHECKPOINT = Path(os.environ["FASTGPU_CHECKPOINT_DIR"]) / "model.pt"

dist.init_process_group("gloo")
rank, world = dist.get_rank(), dist.get_world_size()
torch.manual_seed(0)
model = torch.nn.Linear(8, 1)
first = 0
if CHECKPOINT.exists():
    saved = torch.load(CHECKPOINT)
    model.load_state_dict(saved["model"])
    first = saved["step"] + 1
learner = DistributedDataParallel(model)
optimizer = torch.optim.SGD(learner.parameters(), lr=0.05)
node = os.environ.get("SLURMD_NODENAME", "-")
attempt = os.environ["FASTGPU_ATTEMPT"]
print(f"rank {rank} of {world} on {node}, attempt {attempt}, from step {first}", flush=True)
for step in range(first, STEPS):
    chance = torch.Generator().manual_seed(step * world + rank)
    numbers = torch.randn(64, 8, generator=chance)
    loss = torch.nn.functional.mse_loss(learner(numbers), numbers.sum(1, keepdim=True))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    if rank == 0:
        fresh = CHECKPOINT.with_suffix(".new")
        torch.save({"step": step, "model": model.state_dict()}, fresh)
        fresh.replace(CHECKPOINT)
        print(f"step {step} loss {loss.item():.5f}", flush=True)
    time.sleep(PAUSE_SECONDS)
dist.destroy_process_group()
