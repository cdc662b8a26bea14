"""The libraries of the report, imported once: on Linux its processes begin as copies of one that has them."""

import contextlib

import babel.dates
import babel.lists
import jinja2.ext
import matplotlib.backends.backend_svg
import matplotlib.figure
import matplotlib.mathtext
import PIL.Image

from stages.lib.project.errors import UserError
from stages.lib.reporting.document import import_weasyprint

__all__ = ["PIL", "babel", "jinja2", "matplotlib"]

with contextlib.suppress(UserError):  # whoever needs it says what is missing
    import_weasyprint()
