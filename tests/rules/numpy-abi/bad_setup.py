import os

os.system("pip install torch==1.13.1 numpy~=2.0")
