# All targets use a sourced ROS installation; without one, .venv holds ROS 2 from PyPI.
SHELL := bash
.DEFAULT_GOAL := help
.PHONY: help setup build kernels check test test-install demo docs clean

help:
	@echo "make demo    3D skeletons of two people in a four-camera video, over ROS: demo_output/"
	@echo "make test    check, build and run all tests"
	@echo "make check   lint, format and types"
	@echo "make test-install  pip install with the newest and the oldest versions of everything, and test it"
	@echo "make build   build the package (then: . install/setup.bash)"
	@echo "make docs    write the tables of docs/ that follow from the code"
	@echo "make kernels build the voxel kernel for this processor; else it is built when first used"
	@echo "make setup   make .venv with what is needed; demo, test and build do it themselves"
	@echo "make clean   remove what build, test and demo made; .venv stays"

setup:
	@scripts/setup.sh

build: setup
	@. scripts/env.sh && colcon build --cmake-args \
	  -DCMAKE_BUILD_TYPE=Release "-DPython3_EXECUTABLE=$$VIRTUAL_ENV/bin/python3"

kernels:
	@python3 voxelpose_core/voxel/kernels.py

check: setup
	@. scripts/env.sh && ruff check . && ruff format --check . && mypy

test: check build
	@scripts/test.sh

test-install: setup
	@. scripts/env.sh && python scripts/fresh_install.py newest && python scripts/fresh_install.py oldest

demo: build
	@scripts/demo.sh

docs: setup
	@. scripts/env.sh && python scripts/generate_docs.py

clean:
	rm -rf build install log demo_output
