"""Pure. Colours and axes that all panels of a picture share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.colors import to_rgba
from numpy.typing import NDArray

from services.synthesis.score.events import Layer

PAPER: Final = "#10131c"
PANEL: Final = "#171b27"
INK: Final = "#e6e8ef"
FAINT: Final = "#7d8499"
LINE: Final = "#2b3144"
LAYERS: Final[Mapping[Layer, str]] = {
    Layer.DRONE: "#5b6ee1",
    Layer.BASS: "#3fa7d6",
    Layer.PAD: "#59cd90",
    Layer.MELODY: "#fac05e",
    Layer.SHIMMER: "#f5f0d8",
    Layer.PULSE: "#ee6352",
}


def dress(panel: Axes) -> None:
    """Give a panel its colours and grid."""
    panel.set_facecolor(PANEL)
    panel.tick_params(colors=FAINT, labelsize=10, length=3)
    panel.grid(visible=True, color=LINE, linewidth=0.6)
    panel.set_axisbelow(True)
    for spine in panel.spines.values():
        spine.set_color(LINE)


def label(panel: Axes, text: str) -> None:
    """Write what the panel shows beside it."""
    panel.set_ylabel(text, color=FAINT, fontsize=11)


def clock(at_s: float, _: object = None) -> str:
    """Seconds as minutes and seconds: "4:05"."""
    return f"{int(at_s) // 60}:{int(at_s) % 60:02d}"


def bars(
    panel: Axes,
    begin_s: NDArray[np.float64],
    end_s: NDArray[np.float64],
    middle: NDArray[np.float64],
    *,
    height: float,
    colour: str,
    alpha: NDArray[np.float64],
) -> None:
    """Draw a bar from `begin_s` to `end_s` around `middle` for each note.

    Args:
        panel: to draw on.
        begin_s, end_s, middle: float64 [notes].
        height: of a bar, on the panel's vertical axis.
        colour: of all bars.
        alpha: float64 [notes], 0 (not seen) to 1.
    """
    low, high = middle - height / 2, middle + height / 2
    corners = np.stack(
        (
            np.stack((begin_s, begin_s, end_s, end_s), axis=1),
            np.stack((low, high, high, low), axis=1),
        ),
        axis=2,
    )
    colours = [to_rgba(colour, float(a)) for a in alpha]
    panel.add_collection(PolyCollection(list(corners), facecolors=colours, edgecolors="none"))
