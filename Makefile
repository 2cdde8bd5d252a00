# The two commands: `make demo` shows the whole of tfseg at work, `make test` runs the core of the tests. Both make .venv.
# Another interpreter: `make PYTHON=/path/to/python3.12 demo` (after `make clean` if there is a .venv already).

VENV := .venv
BIN := $(VENV)/bin
DEMO := runs/demo
# loadscope: the tests of a file stay on one worker, which makes their common fixtures once.
PYTEST_ARGS ?= -n 2 --dist loadscope

.DEFAULT_GOAL := help
.PHONY: help demo test test-slow test-all test-extras clean

help:
	@echo "make demo         trains on built-in scenes, evaluates, predicts, exports; everything lands in $(DEMO)"
	@echo "make test         runs the core of the tests, as every push does"
	@echo "make test-slow    runs the sixth of the slow tests whose turn it is at this commit"
	@echo "make test-all     runs the core and all slow tests"
	@echo "make test-extras  installs the optional dependencies and runs the tests that need them"
	@echo "make clean        removes $(VENV) and what the two left behind"

demo: $(VENV)/installed
	@rm -rf $(DEMO)
	@echo "==> fit: pipelines/shapes.yaml"
	@$(BIN)/tfseg fit pipelines/shapes.yaml --run-dir $(DEMO)
	@echo "==> evaluate: scenes that neither trained nor chose the network"
	@$(BIN)/tfseg evaluate $(DEMO) --split test
	@echo "==> predict: four validation scenes, as pictures"
	@$(BIN)/python examples/save_images.py pipelines/shapes.yaml --count 4 --output $(DEMO)/pictures 2>$(DEMO)/errors \
		|| { cat $(DEMO)/errors >&2; exit 1; }; rm $(DEMO)/errors  # TensorFlow greets on this channel
	@$(BIN)/tfseg predict $(DEMO) $(DEMO)/pictures/*.png --output $(DEMO)/predictions --overlay
	@echo "==> export: SavedModel and TFLite"
	@$(BIN)/tfseg export $(DEMO) --output $(DEMO)/saved_models
	@echo
	@echo "Done. Where everything lies:"
	@echo "  $(DEMO)/model.keras        the best network, for keras.models.load_model"
	@echo "  $(DEMO)/metrics-test.json  mIoU, accuracies, IoU of every class, confusion matrix"
	@echo "  $(DEMO)/history.csv        loss and metrics of every epoch; logs/ is for TensorBoard"
	@echo "  $(DEMO)/pictures/          four validation scenes"
	@echo "  $(DEMO)/predictions/       their masks, and the masks over the pictures"
	@echo "  $(DEMO)/saved_models/      a SavedModel for TF Serving and a .tflite, both checked"

test: $(VENV)/installed-test
	$(BIN)/python -m pytest $(PYTEST_ARGS) -m "not slow and not extra"

test-slow: $(VENV)/installed-test
	$(BIN)/python -m pytest $(PYTEST_ARGS) -m "slow and not extra" --sixth commit

test-all: $(VENV)/installed-test
	$(BIN)/python -m pytest $(PYTEST_ARGS) -m "not extra"

test-extras: $(VENV)/installed-extras
	$(BIN)/python -m pytest $(PYTEST_ARGS) -m extra

clean:
	rm -rf $(VENV) build dist *.egg-info $(DEMO)

$(VENV)/installed: setup.cfg pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable .
	@touch $@

$(VENV)/installed-test: setup.cfg pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable ".[test]"
	@touch $@ $(VENV)/installed

$(VENV)/installed-extras: $(VENV)/installed-test
	$(BIN)/python -m pip install --quiet --editable ".[test,jax]"
	@touch $@

$(BIN)/python:
	@python=$$(PYTHON='$(PYTHON)' .ci/find_python) && echo "$$python -m venv $(VENV)" && "$$python" -m venv $(VENV)
