import numpy as np
from segment_anything import SamPredictor


def segment(sam, image):
    predictor = SamPredictor(sam)
    predictor.set_image(image)
    first = predictor.predict(point_coords=np.array([[500, 375]]))
    second = predictor.predict(point_coords=[[500, 375], [20, 30]], point_labels=np.array([1, 0]))
    points = np.array([[500, 375], [1125, 625]])
    third = predictor.predict(point_coords=points, point_labels=np.array([1]))
    return first, second, third
