"""SVG drawings as elements: text is escaped by the serializer, never pasted together."""

from __future__ import annotations

from collections.abc import Mapping
from xml.etree import ElementTree

from markupsafe import Markup


class Drawing:
    """An SVG image of ``width`` × ``height`` CSS pixels, with a title and a description.

    So many pixels more lie ``above`` its zero.
    """

    def __init__(
        self,
        width: int,
        height: int,
        title: str,
        description: str = "",
        *,
        above: int = 0,
        **more: str,
    ) -> None:
        tall = height + above
        box: dict[str, float | str] = {"width": width, "height": tall, "role": "img"}
        box["viewBox"] = f"0 {-above} {width} {tall}"
        self._root = ElementTree.Element("svg", _attributes({**box, **more}))
        # Screen readers take the first title and description of an image for its name.
        self.text("title", title)
        if description:
            self.text("desc", description)

    def add(self, tag: str, **attributes: float | str) -> None:
        """Add a shape; ``stroke_width`` becomes ``stroke-width``, ``class_`` ``class``."""
        ElementTree.SubElement(self._root, tag, _attributes(attributes))

    def text(self, tag: str, text: str, **attributes: float | str) -> None:
        """Add an element that holds text."""
        ElementTree.SubElement(self._root, tag, _attributes(attributes)).text = text

    @property
    def markup(self) -> Markup:
        """The drawing, safe to put into HTML."""
        return Markup(ElementTree.tostring(self._root, encoding="unicode"))


def _attributes(attributes: Mapping[str, float | str]) -> dict[str, str]:
    return {
        name.rstrip("_").replace("_", "-"): _number(value) for name, value in attributes.items()
    }


def _number(value: float | str) -> str:
    """A number with one decimal at most: a tenth of a pixel is finer than anybody sees."""
    return value if isinstance(value, str) else f"{value:.1f}".removesuffix(".0")
