import sys

sys.path.append("..")
sys.path.insert(0, "./src")
