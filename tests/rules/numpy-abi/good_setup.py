import os

os.system("pip install torch==2.1.2 torchvision==0.16.2 'numpy<2'")
os.system("pip install torch==2.1.2 numpy==1.26.4 scipy==2.0")
