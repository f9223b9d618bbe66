# Every target makes its own environment in .venv and installs what it needs; nothing else is touched.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
WORKDIR ?= runs
CONVERGENCE := mlp_relu mlp_erf rnn_last rnn_mean
# The pinned names in setup.cfg's extra, for an installation without their dependencies.
NEURAL_TANGENTS = $(shell grep -oE '^ +(neural-tangents|frozendict)[=>].*' setup.cfg)

.PHONY: install convergence sweep notebooks lint test test-slow clean

install: $(VENV)/installed

$(VENV)/installed: setup.cfg pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[experiments,notebooks,test]'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps $(foreach name,$(NEURAL_TANGENTS),'$(name)')
	touch $@

convergence: install
	@for name in $(CONVERGENCE); do \
	  $(BIN)/python -m experiments.kernel_convergence --config=configs/convergence_$$name.py \
	    --workdir=$(WORKDIR)/convergence_$$name || exit 1; \
	done

sweep: install
	$(BIN)/python -m experiments.regularization_sweep --config=configs/regularization_sweep.py --workdir=$(WORKDIR)/sweep

notebooks: install
	$(BIN)/jupytext --to ipynb --execute notebooks/*.py

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# Two workers, and threads of NumPy's products for neither: on two cores they would only wait for each other.
PYTEST = OPENBLAS_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist loadfile

test: lint
	$(PYTEST)

test-slow: install
	$(PYTEST) -m slow

clean:
	rm -rf $(VENV)
