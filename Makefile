# Everything a clone needs is behind these targets; `make` alone lists them.
# HSM=softhsm keeps each party's key-encryption key in a SoftHSM token; STATE=folder moves what `make run` keeps.

# The first Python that the locks are resolved for.
SUPPORTED := import sys; raise SystemExit(not (3, 11) <= sys.version_info[:2] <= (3, 13))
ifndef PYTHON
PYTHON := $(or $(firstword $(foreach p,python3 python3.13 python3.12 python3.11,\
	$(shell command -v $(p) >/dev/null 2>&1 && $(p) -c "$(SUPPORTED)" 2>/dev/null && echo $(p)))),python3)
endif
VENV := .venv/bin
HSM ?= soft
STATE ?= .devnet

.DEFAULT_GOAL := help
.PHONY: help setup demo run test bench proof lint protos lock clean

help: ## what there is
	@echo "make demo   a whole stack on real engines of Solana, Bitcoin and Ethereum: wallets, transfers; ends by itself"
	@echo "make run    the same stack, serving REST on loopback until Ctrl-C; wallets survive a restart"
	@echo
	@sed -n 's/^\([a-z]*\):.*## /  \1\t/p' $(MAKEFILE_LIST) | expand -t 12

setup: ## the virtual environment, from the hashed lock (others call it)
	@$(PYTHON) scripts/preflight.py setup
	@$(PYTHON) scripts/install.py

demo: setup ## proves the whole path and writes build/demo.json; HSM=softhsm for PKCS#11
	@$(VENV)/python scripts/preflight.py demo --hsm $(HSM)
	@$(VENV)/keyquorum-devnet demo --hsm $(HSM) --report build/demo.json

run: setup ## serves until Ctrl-C, keeping its state in .devnet; HSM=softhsm, STATE=folder
	@$(VENV)/python scripts/preflight.py run --hsm $(HSM)
	@$(VENV)/keyquorum-devnet up --hsm $(HSM) --state $(STATE)

test: setup ## every check and every test, with one summary line; PYTEST="arguments" narrows the tests
	@$(VENV)/python scripts/preflight.py test
	@$(VENV)/python scripts/check.py $(PYTEST)

bench: setup ## measures the stack as `make run` starts it and writes build/bench.json
	@$(VENV)/python scripts/preflight.py bench
	@$(VENV)/python tests/bench/run.py --report build/bench.json

proof: setup ## takes each countermeasure out and requires its test to fail; writes build/proof.json
	@$(VENV)/python tests/proof/run.py --report build/proof.json

lint: setup ## the checks of `make test` without its tests
	@$(VENV)/python scripts/check.py --no-tests

protos: setup ## regenerates the code beside the .proto files
	@$(VENV)/python scripts/protos.py

lock: setup ## resolves the hashed locks again from deploy/requirements/*.in; UPGRADE=1 takes newer versions
	@$(VENV)/python scripts/lock.py $(if $(UPGRADE),--upgrade)

clean: ## removes what was built; keeps .venv and .devnet
	@rm -rf build dist .mypy_cache .ruff_cache .hypothesis .import_linter_cache
