# `make demo` runs an end-to-end demo, `make test` the core tests. Both create .venv.
# Another interpreter: `make PYTHON=/path/to/python3.12 demo` (after `make clean` if there is a .venv already).

VENV := .venv
BIN := $(VENV)/bin
DEMO := runs/demo
# loadscope: the tests of a file run on one worker, which creates their common fixtures once.
PYTEST_ARGS ?= -n 2 --dist loadscope

.DEFAULT_GOAL := help
.PHONY: help demo test test-slow test-all test-extras clean

help:
	@echo "make demo         end-to-end demo on synthetic images: fit, evaluate, predict, export; outputs in $(DEMO)"
	@echo "make test         core tests, run on every push"
	@echo "make test-slow    the sixth of the slow tests that this commit runs"
	@echo "make test-all     core tests and all slow tests"
	@echo "make test-extras  installs the optional dependencies and runs the tests that need them"
	@echo "make clean        removes $(VENV), build products and the demo's outputs"

demo: $(VENV)/installed
	@rm -rf $(DEMO)
	@echo "==> fit: pipelines/shapes.yaml"
	@$(BIN)/tfseg fit pipelines/shapes.yaml --run-dir $(DEMO)
	@echo "==> evaluate: held-out test split"
	@$(BIN)/tfseg evaluate $(DEMO) --split test
	@echo "==> predict: four validation images"
	@$(BIN)/python examples/save_images.py pipelines/shapes.yaml --count 4 --output $(DEMO)/images 2>$(DEMO)/errors \
		|| { cat $(DEMO)/errors >&2; exit 1; }; rm $(DEMO)/errors  # TensorFlow logs to stderr when it starts
	@$(BIN)/tfseg predict $(DEMO) $(DEMO)/images/*.png --output $(DEMO)/predictions --overlay
	@echo "==> export: SavedModel and TFLite"
	@$(BIN)/tfseg export $(DEMO) --output $(DEMO)/saved_models
	@echo
	@echo "Outputs"
	@echo "  $(DEMO)/model.keras        best network, for keras.models.load_model"
	@echo "  $(DEMO)/metrics-test.json  mIoU, accuracies, IoU per class, confusion matrix"
	@echo "  $(DEMO)/history.csv        loss and metrics per epoch; logs/ is for TensorBoard"
	@echo "  $(DEMO)/history.png        curves of loss, mIoU and learning rate"
	@echo "  $(DEMO)/images/            four validation images"
	@echo "  $(DEMO)/predictions/       their masks and overlays"
	@echo "  $(DEMO)/saved_models/      SavedModel and .tflite for deployment"

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
	$(BIN)/python -m pip install --quiet --editable ".[test,jax,tfds,huggingface,raster,coco]"
	@touch $@

$(BIN)/python:
	@python=$$(PYTHON='$(PYTHON)' .ci/find_python) && echo "$$python -m venv $(VENV)" && "$$python" -m venv $(VENV)
