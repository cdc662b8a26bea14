# make report   from a fresh clone to reports/report.pdf
# make test     the tests
# make memory   peak memory of every stage with 8 and with 64 prompts
# Both set everything up by themselves. PYTHON=... names an interpreter (3.11 or newer), PYTEST_ARGS=... goes to pytest.
export PYTHON
export PATH := $(CURDIR)/.venv/bin:$(PATH)

.PHONY: report test lint memory

report: .venv/.installed
	@python -m stages.lib.params
	@dvc repro
	@echo "The report: reports/report.pdf, and reports/report.html for the screen."

test: .venv/.installed
	OMP_NUM_THREADS=1 python -m pytest -n 2 --dist loadfile $(PYTEST_ARGS)

memory: .venv/.installed
	python -m tools.memory

lint: .venv/.installed
	ruff check .
	ruff format --check .

.venv/.installed: requirements.txt tools/setup.sh
	@sh tools/setup.sh .venv requirements.txt
