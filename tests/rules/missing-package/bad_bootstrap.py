import os
import subprocess
import sys

os.system("pip install numpy sklearn==1.3.0")
os.system(f"{sys.executable} -m pip install skimage")
subprocess.run(["pip", "install", "yaml"], check=True)
