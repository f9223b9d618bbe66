# Every target makes its environment (.venv, .venv-newest or .venv-lowest) and installs its packages there, and nowhere
# else.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
UPGRADE =
PIP = $(BIN)/python -m pip install --quiet --disable-pip-version-check $(UPGRADE)
WORKDIR ?= runs
CONVERGENCE := mlp_relu mlp_erf rnn_last rnn_mean
# The pinned names in setup.cfg's extra, for an installation without their dependencies.
NEURAL_TANGENTS = $(shell grep -oE '^ +(neural-tangents|frozendict)[=>].*' setup.cfg)

.PHONY: install convergence sweep published notebooks lint test test-fast test-slow test-newest test-lowest clean

install: $(VENV)/installed

$(VENV)/installed: setup.cfg pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(PIP) --editable '.[experiments,notebooks,test]'
	$(PIP) --no-deps $(foreach name,$(NEURAL_TANGENTS),'$(name)')
	touch $@

convergence: install
	@for name in $(CONVERGENCE); do \
	  $(BIN)/python -m experiments.kernel_convergence --config=configs/convergence_$$name.py \
	    --workdir=$(WORKDIR)/convergence_$$name || exit 1; \
	done

sweep: install
	$(BIN)/python -m experiments.regularization_sweep --config=configs/regularization_sweep.py --workdir=$(WORKDIR)/sweep

published: install
	@for name in sphere uci; do \
	  $(BIN)/python -m experiments.published --config=configs/published_$$name.py --workdir=$(WORKDIR)/published_$$name \
	    || exit 1; \
	done

notebooks: install
	$(BIN)/jupytext --to ipynb --execute notebooks/*.py

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# Two workers, each with one thread for NumPy's products. On two cores more threads would only wait for each other.
PYTEST = OPENBLAS_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist loadfile
# Small programs take longer to compile than to run. Without XLA's costly passes the tests take half the time. The tests
# of dual maps and of some kernels, where the last bit counts, and the slow tests compile programs as users do.
FAST_COMPILATION = XLA_FLAGS='--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true \
  $(OLDER_EMITTERS)'
# XLA refuses unknown flags, and from JAX 0.11 on it does not have the older emitters.
OLDER_EMITTERS = $(shell $(BIN)/python -c \
  "import jaxlib.version as v; print('--xla_cpu_use_fusion_emitters=false' * (v.__version_info__ < (0, 11)))")

AS_USERS = $(addprefix tests/ntk/duals/test_,arcsine.py dual_extremes.py dual_gradients.py dual_hessians.py \
  dual_references.py) $(addprefix tests/ntk/infinite_width/test_,kernel_gradients.py mlp.py) \
  tests/ntk/programs/test_equal_positions.py

test: lint test-fast

test-fast: install
	$(FAST_COMPILATION) $(PYTEST) $(addprefix --ignore=,$(AS_USERS))
	$(PYTEST) $(AS_USERS)

test-slow: install
	$(PYTEST) -m slow

# With the newest releases that pip finds for PYTHON, at each call. The newest JAX may need a newer Python than the default
# one.
test-newest:
	rm -f .venv-newest/installed
	$(MAKE) test-fast VENV=.venv-newest UPGRADE='--upgrade --upgrade-strategy eager'

# With the lowest releases that setup.cfg allows.
test-lowest: LOWEST := .venv-lowest/bin
test-lowest:
	$(PYTHON) -m venv .venv-lowest
	$(LOWEST)/python -m pip install --quiet --disable-pip-version-check uv
	$(MAKE) test-fast VENV=.venv-lowest \
	  PIP='$(LOWEST)/uv pip install --quiet --python $(LOWEST)/python --resolution lowest-direct'

clean:
	rm -rf $(VENV) .venv-newest .venv-lowest
