import os

os.system("conda install -y yaml")
print("pip install cv2 does not work")
