"""RapidOCR: the text in an image, as the package's documentation calls it."""

import numpy

from modelyard_executor.adapters.pictures import read_picture


class Model:
    """An image with nothing to read has no lines."""

    def load(self, folder):
        from rapidocr import RapidOCR

        self._engine = RapidOCR(params={"Global.log_level": "warning"})

    def predict(self, image: bytes, min_score: float = 0.5):
        pixels = numpy.asarray(read_picture(image, "inputs.image"))[:, :, ::-1]  # BGR, as OpenCV reads
        found = self._engine(pixels, text_score=min_score)
        if found.txts is None:
            return {"lines": []}
        lines = zip(found.boxes, found.txts, found.scores, strict=True)
        return {
            "lines": [
                {"box": box.tolist(), "text": text, "score": float(score)} for box, text, score in lines
            ]
        }
