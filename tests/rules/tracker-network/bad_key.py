import os

import wandb
from comet_ml import Experiment

wandb.login(key="0123456789abcdef0123456789abcdef01234567")
experiment = Experiment(api_key="your-api-key", project_name="deblur")
print(os.getpid())
