from segment_anything import SamAutomaticMaskGenerator, SamPredictor


class Tool:
    def __init__(self, sam):
        self.predictor = SamPredictor(sam)
        self.generator = SamAutomaticMaskGenerator(sam)

    def by_name(self):
        return self.predictor.predict("brain tumour")

    def refine(self, image):
        masks = self.generator.generate(image)
        return self.predictor.predict(box=masks[0]["bbox"])
