import numpy as np
from sam2.sam2_image_predictor import SAM2ImagePredictor
from segment_anything import SamPredictor


def segment(sam, image, annotation, options):
    predictor = SamPredictor(sam)
    predictor.set_image(image)
    first = predictor.predict(point_coords=np.array([[500, 375]]), point_labels=np.array([1]))
    second = predictor.predict(point_coords=None, point_labels=None, box=np.array([10, 10, 60, 80]))
    x, y, width, height = annotation["bbox"]
    third = predictor.predict(box=np.array([x, y, x + width, y + height]))
    fourth = predictor.predict(point_coords=options["points"], **options)
    return first, second, third, fourth


newer = SAM2ImagePredictor.from_pretrained("facebook/sam2-hiera-large")
listed = newer.predict(point_coords=[[500, 375]], point_labels=[1])
