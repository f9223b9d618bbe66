# Every target makes its own environment (.venv, .venv-newest, .venv-lowest) and installs what it needs; nothing else
# is touched.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
UPGRADE =
PIP = $(BIN)/python -m pip install --quiet --disable-pip-version-check $(UPGRADE)
WORKDIR ?= runs
CONVERGENCE := mlp_relu mlp_erf rnn_last rnn_mean
# The pinned names in setup.cfg's extra, for an installation without their dependencies.
NEURAL_TANGENTS = $(shell grep -oE '^ +(neural-tangents|frozendict)[=>].*' setup.cfg)

.PHONY: install convergence sweep notebooks lint test test-fast test-slow test-newest test-lowest clean

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

notebooks: install
	$(BIN)/jupytext --to ipynb --execute notebooks/*.py

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# Two workers, and threads of NumPy's products for neither: on two cores they would only wait for each other.
PYTEST = OPENBLAS_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist loadfile
# Small programs take longer to compile than to run: without XLA's costly passes the tests take half the time. Where the
# last bit counts, in dual maps and the kernels made of them, and in the slow tests, programs compile as users' do.
FAST_COMPILATION = XLA_FLAGS='--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true \
  $(OLDER_EMITTERS)'
# XLA refuses flags that it does not know, and has no older emitters any more from JAX 0.11 on.
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

# With the newest releases that pip finds for PYTHON, looked for anew each time; the newest JAX may need a newer Python
# than the default one.
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
