# make demo   the main job, on a scratch home, without root
# make test   everything that can be tested here
# make torture  what could go on for ever, for longer; VPOPMAIL_TEST_TORTURE=10: ten times as long;
#             RESUME=1: without what tests/torture.json has of this code
# make test-integration  with servers that others wrote, from Debian: Dovecot; the examples and the site; the wheel
# make bench  times, beside those of the original that VPOPMAIL_HOME names
# make check  linters, types, formats, a build in which warnings are errors
# make docs   the documentation as a site, in build/site
# make wheel  a source distribution and a wheel that needs no compiler, in dist/
# Missing Debian packages are installed where this runs as root and apt-get is there, else named.

PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python

.PHONY: demo test torture test-system test-integration bench docs wheel check format clean packages

demo: $(VENV)/ready
	rm -rf build/demo && mkdir -p build/demo/qmail/control build/demo/qmail/users
	./build_libvpopmail.sh --prefix "$(CURDIR)/build/demo/vpopmail" --qmail "$(CURDIR)/build/demo/qmail"
	VPOPMAIL_EXT_LIBRARY=bundled $(PY) -m pip install --quiet --no-build-isolation --no-deps --force-reinstall .
	cd build/demo && ../../$(PY) ../../examples/demo.py vpopmail qmail

test: $(VENV)/ready
	tests/run.sh $(PY)

torture: $(VENV)/ready
	VPOPMAIL_TEST_TORTURE=$${VPOPMAIL_TEST_TORTURE:-1} VPOPMAIL_TEST_RESUME=$(RESUME) \
	    tests/run.sh $(PY) --no-cov -m torture
	$(PY) -m tests.torture

test-integration: $(VENV)/integration
	@tests/packages.sh integration
	tests/run.sh --integration $(PY)
	$(PY) -m pytest -q tests/wheels

# VPOPMAIL_HOME names the installation; the tests run on a copy of it.
test-system: $(VENV)/ready
	tests/system.sh $(PY)

bench: $(VENV)/ready
	env -u VPOPMAIL_HOME VPOPMAIL_EXT_LIBRARY=bundled $(PY) setup.py -q build_ext --inplace
	$(PY) -m bench

check: $(VENV)/ready
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy
	git ls-files -- "csrc/*.[ch]" | xargs $(VENV)/bin/clang-format --dry-run -Werror
	CFLAGS="-Wconversion -Werror" ./build_libvpopmail.sh --prefix "$(CURDIR)/build/check/vpopmail" --qmail /var/qmail
	for file in binding own own_checks policy cage wrap files imports; do \
	    gcc -std=c11 -D_GNU_SOURCE -Wall -Wextra -Wconversion -Werror -O2 -Icsrc/libvpopmail/include \
	        -DVPX_SHARED "-DVPX_WRAPPED(X)=X(open)" '-DVPX_LIBRARY="libvpopmail.so"' '-DVPX_AUTH_MODULE="vauth.so"' \
	        -iquote csrc/libvpopmail -c csrc/binding/$$file.c -o build/check/$$file.o || exit 1; \
	done

docs: $(VENV)/integration
	NO_MKDOCS_2_WARNING=1 $(PY) -m mkdocs build --strict

wheel: $(VENV)/integration
	wheels/build.sh $(PY)

format: $(VENV)/ready
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .
	git ls-files -- "csrc/*.[ch]" | xargs $(VENV)/bin/clang-format -i

clean:
	rm -rf build dist .venv *.egg-info vpopmail_ext/_binding.c vpopmail_ext/*.so

packages:
	@tests/packages.sh

$(VENV)/ready: pyproject.toml tests/packages.sh
	@tests/packages.sh
	$(PYTHON) -m venv $(VENV)
	$(PY) -m pip install --quiet --upgrade pip setuptools cffi
	$(PY) -m pip install --quiet $$($(PY) tests/requirements.py)
	touch $@

$(VENV)/integration: $(VENV)/ready
	$(PY) -m pip install --quiet $$($(PY) tests/requirements.py wheel examples docs)
	touch $@
