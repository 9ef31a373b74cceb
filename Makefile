# Two commands do everything on a fresh machine: `make run` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
APT := apt-get install -y -qq
BY_TWO := -n 2 --dist loadfile
# In the order of the tree: files of one long test would come last, and one of the two would have nothing to do.
IN_TURN := --no-loadscope-reorder
# The tests start hundreds of processes: each would compile every module anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help venv run test test-fast lint clean sabotage bench matrix soak killmatrix seeds audit defects
help:
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

venv: $(STAMP) ## the environment in .venv, nothing else
$(STAMP): pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -c 'import sys; sys.exit("grace-chaos needs Python 3.11 or newer, this is " + sys.version.split()[0]) if sys.version_info < (3, 11) else None'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $@

run: $(STAMP) ## boots the embedded Grace and runs MF01_triple_threat at a tenth of its length
	@$(BIN)/locust -f locustfiles/grace.py --headless --scenario MF01_triple_threat --time-scale 0.1

lint: $(STAMP) ## ruff and mypy
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

test-fast: $(STAMP) lint ## the tests that start no target: at most 3 minutes
	@$(BIN)/python -m pytest -q -m 'not slow' $(BY_TWO)

test: $(STAMP) lint ## every test but the long matrices below
	@status=0; $(BIN)/python -m pytest -q -m 'not slow and not alone' $(BY_TWO) --durations=10 || status=$$?; \
	$(BIN)/python -m pytest -q -m 'slow and beside and not alone' $(BY_TWO) $(IN_TURN) --durations=20 || status=$$?; \
	$(BIN)/python -m pytest -q -m 'slow and not beside and not alone' --durations=40 || status=$$?; exit $$status

sabotage: $(STAMP) ## each safeguard off, each defect planted and each fault of the pool, one at a time
	@$(BIN)/python -m pytest -q -m alone --durations=25

bench: $(STAMP) ## ours beside the field's tools, as ratios in one interleaved run: benchmarks/results/
	@for tool in stress-ng fio wrk hey; do command -v $$tool >/dev/null || $(APT) $$tool; done
	@command -v h2load >/dev/null || $(APT) nghttp2-client
	@command -v ab >/dev/null || $(APT) apache2-utils
	@# the benchmark has a configuration and a process of its own: the one that Debian starts on port 80 is not wanted
	@command -v nginx >/dev/null || test -x /usr/sbin/nginx || { $(APT) nginx && { service nginx stop >/dev/null 2>&1 || true; }; }
	@status=0; for part in fidelity load; do $(BIN)/python -m benchmarks.$$part || status=$$?; done; exit $$status

matrix: $(STAMP) ## SIGKILL at every step of every fault's life, all cells
	@$(BIN)/grace-chaos killmatrix --all --out benchmarks/results/killmatrix.md

soak: $(STAMP) ## 200 SIGKILLs at random moments
	@$(BIN)/grace-chaos killmatrix --soak 200 --out benchmarks/results/soak.md

killmatrix: $(STAMP) ## a seeded choice of the matrix: every fault, every step
	@$(BIN)/grace-chaos killmatrix

seeds: $(STAMP) ## MF03_randomized_assault with ten seeds, a verdict each: benchmarks/results/seeds.md
	@$(BIN)/python -m benchmarks.seeds

audit: $(STAMP) ## which promise of a scenario is judged by which check: docs/audit.md
	@$(BIN)/grace-chaos audit --format md > docs/audit.md

defects: $(STAMP) ## each planted defect in each scenario where it can strike: docs/results/defects.md
	@$(BIN)/python -m benchmarks.defects --resume

clean: ## removes what the commands above made
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache build *.egg-info
