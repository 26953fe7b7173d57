import numpy as np
from mobile_sam import SamPredictor


def click(sam, image):
    predictor = SamPredictor(sam)
    predictor.set_image(image)
    return predictor.predict(point_coords=[[500, 375]], point_labels=[1])


EMPTY = np.zeros((0, 2))
