"""Two builds of OpenCV are installed, and each has overwritten files of the other.

What happens
------------
`import cv2` fails or lacks functions: `module 'cv2' has no attribute 'imread'`, `partially initialized module 'cv2'
has no attribute 'gapi_wip_gst_GStreamerPipeline'`, or a missing `libGL.so.1` although the headless build was
installed. Or nothing happens until one of the two is upgraded or removed.

Why
---
`opencv-python`, `opencv-python-headless` and the two `opencv-contrib-...` all install the same folder `cv2`. pip does
not know that they exclude each other; whichever was installed last wins, file by file. Libraries require different
ones: ultralytics the full one, albumentations the headless one.

How to confirm
--------------
`pip list | grep -i opencv` shows more than one line.

Fix
---
Remove all, then install one: `pip uninstall -y opencv-python opencv-python-headless`, then `pip install
opencv-python-headless`. Removing only one of them leaves the other without files. The headless build is enough unless
windows are opened with `cv2.imshow`.

When it is something else
-------------------------
A single OpenCV with a missing `libGL.so.1` needs the headless build: `missing-package`. A file or folder of your own
called `cv2` hides the library: `wrong-project-root`.

Sources
-------
- opencv-python, "Select the correct package": https://github.com/opencv/opencv-python#installation-and-usage
"""

from __future__ import annotations

from collections.abc import Iterator

from snellen.core.facts.environment import EnvironmentFacts
from snellen.core.finding import Finding, Fix, Level
from snellen.core.plan import Cost, NotApplicable, Plan
from snellen.core.rule import BeforeFacet, Rule, absent

__all__ = ["RULE"]

_BUILDS = ("opencv-python", "opencv-python-headless", "opencv-contrib-python", "opencv-contrib-python-headless")


def _examine_plan(plan: Plan) -> Iterator[Finding]:
    environment: EnvironmentFacts = plan.fact("environment")
    found = [name for name in _BUILDS if name in environment.packages]
    if not found:
        raise NotApplicable("OpenCV is not installed")
    if len(found) < 2:
        return
    contrib = "contrib-" if any("contrib" in name for name in found) else ""
    keep = f"opencv-{contrib}python-headless"
    told = " and ".join(f"{name} {environment.packages[name]}" for name in found)
    yield Finding(
        "two-opencv",
        Level.WARNING,
        f"{told} overwrite each other's files",
        fix=Fix(
            f"Remove all of them, then `pip install {keep}`: removing one takes files of the other.",
            command=f"pip uninstall -y {' '.join(found)} && pip install {keep}",
        ),
    )


RULE = Rule(
    slug="two-opencv",
    family="environment",
    title="Two builds of OpenCV overwrite each other",
    level=Level.WARNING,
    log=absent("what is missing from cv2 differs from case to case, and has other reasons as well"),
    source=absent("what is installed is no matter of source"),
    before=BeforeFacet(Cost.INSTANT, _examine_plan),
    during=absent("libraries are imported before the first step"),
    module=__name__,
)
