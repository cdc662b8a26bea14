# make report   from a fresh clone to reports/MODEL/report.pdf
#               MODEL=KEY: of that model of params.yaml, which it writes there as `model`
#               SET=all: all formats, also those with `default: false`
#               QUICK=1: fewer formats and prompts, in minutes, to .quick/reports/MODEL/report.pdf
# make test     the tests; EVERY_PAIR=1: every kind of model in every format, which are taken by turns otherwise
# make benchmark  speed-ups of all variants, from fresh alternating runs: over the baseline, over FP32 in the same runtime
# make memory   peak memory of every stage with 8 and with 64 prompts
# make faults   60 kills of a run, each of which must go on, and 1,000 generated inputs for every parser
# make referee  40 figures of the last run again, with numpy, scikit-image and scipy alone, without a line of stages/
# All set everything up by themselves. PYTHON=... names an interpreter (3.11 or newer), PYTEST_ARGS=... goes to pytest,
# BENCHMARK_ARGS=... to tools.benchmark, MEMORY_ARGS=... to tools.memory,
# REFEREE_ARGS=... to tests.referee (--seed, --figures, --root).
export PYTHON
unexport PYTHONSAFEPATH PYTHONOPTIMIZE
export PATH := $(CURDIR)/.venv/bin:$(PATH)

.PHONY: report test faults lint benchmark memory referee

report: .venv/.installed
	@python -m tools.run --set '$(or $(SET),default)' $(if $(QUICK),--quick) $(if $(MODEL),--model '$(MODEL)')

test: .venv/.installed
	OMP_NUM_THREADS=1 python -m pytest -n 2 --max-worker-restart 0 --dist loadfile --no-loadscope-reorder $(PYTEST_ARGS)

faults: .venv/.installed
	OMP_NUM_THREADS=1 python -m pytest -q --hypothesis-profile=faults -k any $(wildcard tests/*/test_any_*.py) \
		tests/models/test_hub_answers.py
	@python -m tests.faults.kills

benchmark: .venv/.installed
	@python -m tools.run quantize noise environment
	@python -m tools.benchmark $(BENCHMARK_ARGS)

memory: .venv/.installed
	@python -m tools.memory $(MEMORY_ARGS)

referee: .venv/.installed
	@python -m tests.referee $(REFEREE_ARGS)

lint: .venv/.installed
	ruff check .
	ruff format --check .

.venv/.installed: requirements.txt tools/setup.sh
	@sh tools/setup.sh .venv requirements.txt
