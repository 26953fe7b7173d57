import os

import torch

os.system("pip install torch==2.4.1+cpu -f https://download.pytorch.org/whl/torch_stable.html")


def main() -> None:
    model = torch.nn.Linear(4, 2).cuda()
    print(model(torch.zeros(1, 4)))


if __name__ == "__main__":
    main()
