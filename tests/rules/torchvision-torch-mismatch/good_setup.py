import subprocess

subprocess.run("pip install torch==2.4.1 torchvision==0.19.1", shell=True, check=True)
subprocess.run("pip install torch>=2.0 torchvision", shell=True, check=True)
