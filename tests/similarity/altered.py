"""What happens to pictures and sounds on their way into a collection twice."""

import io

import numpy as np
from PIL import Image


def encoded_again(image, quality):
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality)
    return Image.open(io.BytesIO(file.getvalue())).convert("RGB")


def resized(image, factor):
    return image.resize((round(image.width * factor), round(image.height * factor)), Image.Resampling.BICUBIC)


def cut(image, rng, most):
    left, top, right, bottom = (rng.uniform(0, most) for _ in range(4))
    width, height = image.size
    return image.crop(
        (round(left * width), round(top * height), round((1 - right) * width), round((1 - bottom) * height))
    )


PICTURES = {
    "jpeg 85": lambda image, rng: encoded_again(image, 85),
    "jpeg 30": lambda image, rng: encoded_again(image, 30),
    "half the size": lambda image, rng: resized(image, 0.5),
    "larger": lambda image, rng: resized(image, 1.5),
    "cut by up to 5%": lambda image, rng: cut(image, rng, 0.05),
    "cut, smaller, jpeg 60": lambda image, rng: encoded_again(resized(cut(image, rng, 0.03), 0.7), 60),
}


def sound_again(sound, kind):
    import soundfile

    file = io.BytesIO()
    soundfile.write(file, sound["array"], sound["sampling_rate"], format=kind)
    array, rate = soundfile.read(io.BytesIO(file.getvalue()), dtype="float32")
    return {"array": array, "sampling_rate": rate}


def at_another_rate(sound):
    from scipy.signal import resample_poly

    array = resample_poly(sound["array"], 441, 320).astype(np.float32)
    return {"array": array, "sampling_rate": sound["sampling_rate"] * 441 // 320}


SOUNDS = {
    "mp3": lambda sound: sound_again(sound, "MP3"),
    "ogg": lambda sound: sound_again(sound, "OGG"),
    "quieter": lambda sound: {**sound, "array": sound["array"] * 0.4},
    "another rate": at_another_rate,
    "cut by 3% at either end": lambda sound: {
        **sound,
        "array": sound["array"][len(sound["array"]) // 33 : -len(sound["array"]) // 33],
    },
}
