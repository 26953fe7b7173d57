import joblib
import numpy as np
import pickle


def anchors(path):
    with open(path, "rb") as file:
        return pickle.load(file)


def scaler():
    return joblib.load("models/scaler.joblib")


def centres(file_name):
    return np.load(file_name, allow_pickle=True).item()
