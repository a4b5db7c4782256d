"""The picture of a page as PNG, for a chat or a letter that takes no page: the same SVG, painted.

Only what `plot.py` draws with is known: polylines, lines, polygons, rectangles and text, of the classes below. Colours
are those of the page on paper. Needs the library Pillow, which comes with the commands.
"""

import io
import itertools
import math
import unicodedata
from collections.abc import Iterator, Sequence
from typing import NamedTuple
from xml.etree import ElementTree as ET

from PIL import Image, ImageDraw, ImageFont

from edge_agent.cli.markup import Markup
from edge_agent.judge.words import SIGMA

SCALE = 3
"""Pixels for one unit of the SVG."""
FINER = 2
"""Painted so many times larger and then made smaller, so that lines have no stairs."""
EDGE, LINE, TITLE, WORDS = 12, 17, 15, 12
"""Around it all, from line to line of the words, and the sizes of letters."""
LETTERS = "DejaVuSans.ttf"
INK, SOFT, PAPER = "#1a1d21", "#5c6670", "#ffffff"

Spot = tuple[float, float]


class Pen(NamedTuple):
    """How a class is painted: `dash` is how long it is drawn and how long it is not."""

    stroke: str | None = None
    fill: str | None = None
    width: float = 1.0
    dash: tuple[float, float] | None = None


PENS = {
    "value": Pen("#0b62c4", width=1.6),
    "rare": Pen(INK, width=1.4),
    "usual": Pen(SOFT, dash=(4, 3)),
    "limit": Pen("#b3261e", dash=(6, 3)),
    "bar": Pen("#b3261e", dash=(6, 3)),
    "band": Pen(fill="#0b62c41c"),
    "alarm": Pen(fill="#b3261e1f"),
    "frame": Pen("#dde1e5"),
}
"""As in `style.py`, by the light."""


def png(title: str, picture: Markup | None, sentences: Sequence[str]) -> bytes:
    """Return a PNG file: the title, the picture (none where there is nothing to draw) and what it means in words."""
    drawing = None if picture is None else ET.fromstring(picture)  # noqa: S314 - our own, just made
    width, height = (400.0, 0.0) if drawing is None else _size(drawing)
    head = list(_wrapped(title, _font(TITLE), width))
    words = [line for sentence in sentences for line in _wrapped(sentence, _font(WORDS), width)]
    top = EDGE + LINE * (len(head) + 0.5)
    sheet = _Sheet(width + 2 * EDGE, top + height + LINE * (len(words) + 0.5) + EDGE)
    for place, line in enumerate(head):
        sheet.text(line, (EDGE, EDGE + TITLE + LINE * place), TITLE, INK)
    if drawing is not None:
        for shape in drawing.iter():
            sheet.shape(shape, (EDGE, top))
    for place, line in enumerate(words):
        sheet.text(line, (EDGE, top + height + LINE * (place + 1.3)), WORDS, INK)
    return sheet.file()


class _Sheet:
    def __init__(self, width: float, height: float) -> None:
        self._per = SCALE * FINER
        self._size = (round(width * SCALE), round(height * SCALE))
        self._image = Image.new("RGB", (round(width * self._per), round(height * self._per)), PAPER)
        self._draw = ImageDraw.Draw(self._image, "RGBA")

    def file(self) -> bytes:
        told = io.BytesIO()
        smooth = self._image.resize(self._size, Image.Resampling.LANCZOS)
        smooth.quantize(64, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE).save(told, "PNG", optimize=True)
        return told.getvalue()

    def shape(self, shape: ET.Element, at: Spot) -> None:
        given = {name: float(value) for name, value in shape.attrib.items() if name in _MEASURES}
        kind = shape.get("class", "")
        if shape.tag == "text":
            self.text(shape.text or "", _moved((given["x"], given["y"]), at), 11, SOFT, end=kind == "end")
            return
        pen = PENS.get(kind)
        if pen is None:
            return
        spots = [_moved(spot, at) for spot in _spots(shape, given)]
        if pen.fill is not None:
            self._draw.polygon(self._here(spots), fill=pen.fill)
        if pen.stroke is not None:
            for part in [spots] if pen.dash is None else _dashes(spots, *pen.dash):
                self._draw.line(self._here(part), fill=pen.stroke, width=round(pen.width * self._per), joint="curve")

    def text(self, text: str, at: Spot, size: float, colour: str, *, end: bool = False) -> None:
        """Write with the base line at a place; `end`: so that it ends there."""
        font = _font(size * self._per)
        self._draw.text(self._here([at])[0], _plain(text, font), fill=colour, font=font, anchor="rs" if end else "ls")

    def _here(self, spots: Sequence[Spot]) -> list[Spot]:
        return [(x * self._per, y * self._per) for x, y in spots]


_SIMPLER = {SIGMA: "sigma", "\u00b1": "+/-", "\u00b0": "deg ", "\u2126": "ohm", "\u03a9": "ohm"}
_MEASURES = frozenset({"x", "y", "x1", "x2", "y1", "y2", "width", "height"})


def _size(drawing: ET.Element) -> Spot:
    _, _, width, height = map(float, drawing.attrib["viewBox"].split())
    return width, height


def _moved(spot: Spot, by: Spot) -> Spot:
    return spot[0] + by[0], spot[1] + by[1]


def _spots(shape: ET.Element, given: dict[str, float]) -> list[Spot]:
    """Return the corners of a shape."""
    if shape.tag == "line":
        return [(given["x1"], given["y1"]), (given["x2"], given["y2"])]
    if shape.tag == "rect":
        x, y, right, foot = given["x"], given["y"], given["x"] + given["width"], given["y"] + given["height"]
        return [(x, y), (right, y), (right, foot), (x, foot), (x, y)]
    pairs = (pair.split(",") for pair in shape.attrib["points"].split())
    return [(float(x), float(y)) for x, y in pairs]


def _dashes(spots: Sequence[Spot], on: float, off: float) -> Iterator[list[Spot]]:
    """Give the parts of a line that are drawn; the pattern goes on around corners."""
    done = 0.0
    for (x, y), (to_x, to_y) in itertools.pairwise(spots):
        length = math.hypot(to_x - x, to_y - y)
        first = math.floor(done / (on + off)) * (on + off)
        while first < done + length:
            ends = [min(max(edge - done, 0.0), length) / length for edge in (first, first + on)] if length else [0, 0]
            if ends[1] > ends[0]:
                yield [(x + (to_x - x) * share, y + (to_y - y) * share) for share in ends]
            first += on + off
        done += length


def _font(size: float) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Return the letters of the page if this machine has them, and else those that came with the library."""
    try:
        return ImageFont.truetype(LETTERS, size)
    except OSError:
        return ImageFont.load_default(size)


def _plain(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> str:
    """Return text in the letters that a font has: those of the library know ASCII and little else."""
    if isinstance(font, ImageFont.FreeTypeFont) and "DejaVu" in str(font.getname()[0]):
        return text
    for letter, simpler in _SIMPLER.items():
        text = text.replace(letter, simpler)
    return unicodedata.normalize("NFKD", text).encode("ascii", "replace").decode()


def _wrapped(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: float) -> Iterator[str]:
    """Give the lines of a text as it will be painted; a word that is too long for a line is broken."""
    line = ""
    for word in _plain(text, font).split():
        longer = f"{line} {word}".strip()
        if line and font.getlength(longer) > width:
            yield line
            longer = word
        line = longer
        while font.getlength(line) > width:
            fits = next(
                many for many in range(len(line) - 1, 0, -1) if many == 1 or font.getlength(line[:many]) <= width
            )
            yield line[:fits]
            line = line[fits:]
    yield line
