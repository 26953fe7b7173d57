import pickle


def remember(cache, index):
    with open(cache, "wb") as file:
        pickle.dump(index, file)


def recall(cache):
    with open(cache, "rb") as file:
        return pickle.load(file)
