# make report   from a fresh clone to reports/report.pdf
# make test     the tests
# Both set everything up by themselves. PYTHON=... names an interpreter (3.11 or newer), PYTEST_ARGS=... goes to pytest.
export PYTHON
export PATH := $(CURDIR)/.venv/bin:$(PATH)

.PHONY: report test lint

report: .venv/.installed
	@python -m stages.lib.params
	@dvc repro
	@echo "The report: reports/report.pdf, and reports/report.html for the screen."

test: .venv/.installed
	OMP_NUM_THREADS=1 python -m pytest -n 2 --dist loadfile $(PYTEST_ARGS)

lint: .venv/.installed
	ruff check .
	ruff format --check .

.venv/.installed: requirements.txt tools/setup.sh
	@sh tools/setup.sh .venv requirements.txt
