"""The verbs: one module per stage of dvc.yaml, of the same name, run as `python -m stages.NAME`."""

import os
import sys
import warnings

from stages.lib.project.errors import hide_no_news

# A thread of OpenMP that has nothing to do spins, and holds up whoever would use its core: on two cores with other busy
# programs an image took ten times as long. After some 0.1 ms of spinning a thread sleeps, which costs an idle machine
# nothing that could be measured. NumPy's products here are small: more threads for them get in each other's way.
os.environ.setdefault("GOMP_SPINCOUNT", "20000")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

# A bar of progress is for who watches: whatever library draws it, none goes to a file. tqdm reads this at its import.
if not sys.stderr.isatty():
    os.environ.setdefault("TQDM_DISABLE", "1")

hide_no_news()

# diffusers imports what it finds to quantize with, needed or not: bitsandbytes is a second of each process, and memory.
# Our back end takes it out again (stages/lib/formats/bitsandbytes/layers.py).
if "diffusers" not in sys.modules:  # which has found it by now, and will import it
    sys.modules.setdefault("bitsandbytes", None)

# Warnings are for who writes the code that is warned of; the second line is for processes that this one starts.
if not sys.warnoptions:
    warnings.simplefilter("ignore")
    os.environ.setdefault("PYTHONWARNINGS", "ignore")

# When DVC is killed and started again, no stage of the first run, nor what it started, may be working still.
if "DVC_STAGE" in os.environ:
    from stages.lib.project.parent import end_with_parent

    end_with_parent()
