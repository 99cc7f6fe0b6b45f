from itertools import combinations

import numpy as np
import pytest

from pipeline.pages.colours import DARK, LIGHT, SERIES, variables

SCHEMES = {"light": LIGHT, "dark": DARK}
# Machado, Oliveira, Fernandes (2009), severity 1.0: linear RGB as seen
SEEN = {
    "protanopia": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "normal": np.eye(3),
}
TO_XYZ = np.array(
    [
        [0.4124, 0.3576, 0.1805],
        [0.2126, 0.7152, 0.0722],
        [0.0193, 0.1192, 0.9505],
    ]
)


def linear(colour):
    rgb = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)


def contrast(one, two):
    lights = sorted(
        float(linear(colour) @ [0.2126, 0.7152, 0.0722]) for colour in (one, two)
    )
    return (lights[1] + 0.05) / (lights[0] + 0.05)


def lab(rgb):
    ratio = TO_XYZ @ rgb.clip(0, 1) / [0.9505, 1.0, 1.089]
    f = np.where(ratio > 0.008856, np.cbrt(ratio), 7.787 * ratio + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("ground", ["paper", "panel"])
@pytest.mark.parametrize("text", ["ink", "soft", "blue"])
def test_text_has_enough_contrast(scheme, ground, text):
    colours = SCHEMES[scheme]

    assert contrast(colours[text], colours[ground]) >= 4.5


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("series", SERIES)
def test_lines_have_enough_contrast(scheme, series):
    assert contrast(SCHEMES[scheme][series], SCHEMES[scheme]["paper"]) >= 3


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("strength", [0.4])
@pytest.mark.parametrize("tint", ["blue", "orange"])
def test_counts_can_be_read_on_the_tints_of_the_confusion_matrix(
    scheme, strength, tint
):
    colours = SCHEMES[scheme]
    mixed = [
        round(
            strength * int(colours[tint][i : i + 2], 16)
            + (1 - strength) * int(colours["paper"][i : i + 2], 16)
        )
        for i in (1, 3, 5)
    ]

    assert contrast(colours["ink"], "#{:02x}{:02x}{:02x}".format(*mixed)) >= 4.5


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("eyes", SEEN)
def test_series_stay_apart_for_the_colour_blind(scheme, eyes):
    """The first two, which stand alone in most figures, clearly; the others at least visibly."""
    matrix = np.asarray(SEEN[eyes])
    seen = [lab(matrix @ linear(SCHEMES[scheme][name])) for name in SERIES]

    assert np.linalg.norm(seen[0] - seen[1]) > 30
    assert min(np.linalg.norm(a - b) for a, b in combinations(seen, 2)) > 10


def test_both_schemes_have_the_same_names():
    assert list(LIGHT) == list(DARK)
    assert variables({"ink": "#000000"}) == "--ink: #000000;"
