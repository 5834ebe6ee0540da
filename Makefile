# Every target sets up .venv first; `make` alone lists the targets.
.DEFAULT_GOAL := help
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
PY := .venv/bin/python
# Python keeps what it compiles, whatever the shell says: compiling torch anew costs each process that starts four seconds.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help setup up monitoring test test-long test-faults test-cluster check format constraints kernels bench bench-synthesis bench-edge clean

help:  ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup:  ## virtual environment with everything in it (the other targets do it too)
	@scripts/setup

up: setup  ## NATS and the three services on this machine; prints where to listen
	@exec .venv/bin/auralis up

monitoring: setup  ## Prometheus on 9190 (and Grafana where present) beside `make up`, with rules and dashboard
	@exec .venv/bin/auralis monitoring

test: setup  ## unit, contract, integration and short guide tests (under 5 minutes)
	@scripts/test

test-long: setup  ## the guide's own durations, the browser, the whole music matrix
	@$(PY) -m pytest -m "long or browser"

test-faults: setup  ## kill, hang, part, starve and flood real processes, and listen (about 10 minutes)
	@$(PY) -m pytest -m faults -s -o log_cli=false tests/faults

test-cluster: setup  ## on the Kubernetes cluster that KUBECONFIG names: install, upgrade, kill, scale
	@scripts/test-cluster

check: setup  ## format, lint, types, spelling, known vulnerabilities
	@$(PY) -m ruff format --check .
	@$(PY) -m ruff check .
	@$(PY) -m mypy
	@.venv/bin/codespell
	@scripts/audit

format: setup  ## let ruff format and fix
	@$(PY) -m ruff format .
	@$(PY) -m ruff check --fix .

kernels: setup  ## compile the kernels of the sound that this machine's cache lacks
	@$(PY) -m services.synthesis.kernels.build

bench: setup  ## every benchmark in one go, a page with ratios and two pictures (ten minutes; QUICK=1 two)
	@$(PY) benchmarks/report.py $(if $(QUICK),--quick)

bench-synthesis: setup  ## streams in real time, phrases, peers, memory (five minutes; DEVICE=cpu|cuda|mps)
	@$(PY) benchmarks/synthesis.py --device $(or $(DEVICE),auto)

bench-edge: setup  ## processor time per message beside C, frameworks, Icecast and centrifuge (ten minutes)
	@$(PY) benchmarks/edge.py

constraints: setup  ## pin what is installed now
	@scripts/pin > constraints.new && mv constraints.new constraints.txt

clean:  ## remove the virtual environment and caches
	rm -rf .venv .uv .mypy_cache .pytest_cache .ruff_cache .hypothesis build *.egg-info
