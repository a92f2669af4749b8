# Martlet. `make run` and `make test` set up everything they need; `make help` lists the rest.
SHELL := /bin/bash
.DEFAULT_GOAL := help
BUILD := .build
# The Swift runtime is linked into the binaries, so that they run where no Swift is installed.
RELEASE := -c release --static-swift-stdlib
PYTHON := $(BUILD)/clients/bin/python
CLIENTS := $(BUILD)/clients/installed
# Which tests, as in `make test FILTER=ArenaTests`; empty: all.
FILTER ?=
# Passed on to `swift build` when the tests are built.
BUILD_FLAGS ?=
# What `make install` installs, and where.
BIN ?= $(BUILD)/release
PREFIX ?= /usr/local
UNITDIR ?= $(PREFIX)/lib/systemd/system
DESTDIR ?=
SUDO := $(shell [ "$$(id -u)" = 0 ] || echo sudo)

# Installs the Debian packages that are missing.
define needs
missing=; for package in $(1); do \
  dpkg-query -W -f='$${Status}' $$package 2>/dev/null | grep -q 'install ok installed' || missing="$$missing $$package"; \
done; if [ -n "$$missing" ]; then \
  echo "Installing$$missing"; \
  $(SUDO) apt-get update -qq && DEBIAN_FRONTEND=noninteractive $(SUDO) apt-get install -y -qq --no-install-recommends $$missing >/dev/null; fi
endef

.PHONY: help run check test test-asan test-tsan fuzz autobahn browser sessions soak prove deps build lint format bench continuity install deb deb-deps test-deb \
  test-upgrade print-docs clean

help: ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 22

run: build ## Build, then serve in development mode: demo page on http://127.0.0.1:8000/
	$(BUILD)/release/martletd --dev $(ARGS)

test: deps $(CLIENTS) ## Build and run every test
	swift build --build-tests $(BUILD_FLAGS)
	MARTLET_PYTHON=$(CURDIR)/$(PYTHON) Tests/run '$(FILTER)'

check: deps lint ## What tells within a minute whether a change holds: format, the rules of the house, unit tests
	swift build --build-tests $(BUILD_FLAGS)
	Tests/run --unit '$(FILTER)'

test-tsan: deps $(CLIENTS) ## Run the tests again under ThreadSanitizer (takes minutes)
	swift build --build-tests --sanitize=thread --scratch-path $(BUILD)/tsan
	MARTLET_PYTHON=$(CURDIR)/$(PYTHON) MARTLET_SANITIZER=thread Tests/run --lanes 2 --build $(BUILD)/tsan/debug '$(FILTER)'

test-asan: deps $(CLIENTS) ## Run the tests again under AddressSanitizer (takes minutes)
	swift build --build-tests --sanitize=address --scratch-path $(BUILD)/asan
	MARTLET_PYTHON=$(CURDIR)/$(PYTHON) MARTLET_SANITIZER=address \
	  ASAN_OPTIONS=detect_leaks=0:suppressions=$(CURDIR)/Tests/Support/address-suppressions \
	  Tests/run --lanes 2 --build $(BUILD)/asan/debug '$(FILTER)'

# How long each target of the fuzzer runs.
FUZZ_SECONDS ?= 60

fuzz: deps ## Fuzz every parser for FUZZ_SECONDS (60) each, starting from the corpus (about 15 minutes)
	swift build -c release --product martlet-fuzz --sanitize fuzzer --sanitize address --scratch-path $(BUILD)/fuzz -Xswiftc -DFUZZING
	Tests/Fuzzing/run $(FUZZ_SECONDS)

deps: ## Check the toolchain, and install missing Debian libraries
	@command -v swift >/dev/null || { echo "Martlet needs a Swift 6.3 toolchain: https://www.swift.org/install/linux/"; exit 1; }
	@swift --version 2>/dev/null | grep -qE 'Swift version (6\.([3-9]|[1-9][0-9])|[7-9]|[1-9][0-9])' || \
	  { echo "Martlet needs Swift 6.3 or later, this is: $$(swift --version 2>/dev/null | head -1)"; \
	    echo "Get it from https://www.swift.org/install/linux/"; exit 1; }
	@$(call needs,libsystemd-dev libyaml-dev zlib1g-dev pkg-config python3 python3-venv curl)

# Third-party WebSocket clients and other libraries, for the end-to-end tests.
$(CLIENTS): Tests/Support/Clients/requirements.txt
	python3 -m venv $(BUILD)/clients
	$(BUILD)/clients/bin/pip install -q -r $<
	touch $@

build: deps ## Build the release binaries into .build/release
	swift build $(RELEASE)

lint: ## Check formatting and style
	swift format lint --strict --recursive Sources Tests Package.swift

format: ## Format the sources in place
	swift format --in-place --recursive Sources Tests Package.swift

bench: build ## Run the benchmarks on this machine, beside a C program that does the same
	@$(call needs,binutils gcc libc6-dev strace valgrind)
	Tests/Benchmarks/counts --hold
	Tests/Benchmarks/run

continuity: build ## Restart, scale, upgrade and kill under 10,000 connections (about 15 minutes)
	Tests/Continuity/run

autobahn: build ## Run the 517 cases of Autobahn|Testsuite (needs Python 2.7; about 10 minutes)
	Tests/Conformance/autobahn

browser: build $(CLIENTS) ## Open the demo page in Chromium, and send a message to it
	@$(call needs,chromium)
	Tests/Conformance/browser

sessions: build $(CLIENTS) ## Cut, freeze and close to WebSockets the network of a page in Chromium and Firefox, and reload HAProxy and nginx under sessions (about 8 minutes)
	@$(call needs,chromium firefox-esr haproxy nginx-light openssl)
	Tests/Conformance/browser-session
	$(PYTHON) Tests/Conformance/proxies

# How long the soak runs, in seconds.
SOAK_SECONDS ?= 7200

soak: build $(CLIENTS) ## Run for two hours at twice the load that fits, through everything that happens to a service: nothing may grow
	$(PYTHON) Tests/Soak/run --seconds $(SOAK_SECONDS)

prove: test lint test-asan test-tsan fuzz autobahn browser sessions continuity test-deb bench soak ## Run all tests and checks (five hours)

install: ## Install the contents of $(BIN) under $(DESTDIR)$(PREFIX); an existing configuration is kept
	install -D -m 755 -t $(DESTDIR)$(PREFIX)/libexec/martlet $(BIN)/martletd $(BIN)/martlet-worker
	install -D -m 755 -t $(DESTDIR)$(PREFIX)/bin $(BIN)/martletctl $(BIN)/martlet-load
	ln -sf ../libexec/martlet/martletd $(DESTDIR)$(PREFIX)/bin/martletd
	install -D -m 644 -t $(DESTDIR)$(UNITDIR) units/*.socket units/*.service
	sed -i -E 's|/usr/(bin/m\|libexec/m)|$(PREFIX)/\1|g' $(DESTDIR)$(UNITDIR)/martlet.service
	install -D -m 644 units/martlet.sysusers $(DESTDIR)$(PREFIX)/lib/sysusers.d/martlet.conf
	install -D -m 644 -t $(DESTDIR)$(PREFIX)/share/man/man1 docs/man/*.1
	install -D -m 644 -t $(DESTDIR)$(PREFIX)/share/man/man8 docs/man/*.8
	for program in martletd martletctl martlet-load; do \
	  set -e; complete="$(BIN)/$$program --generate-completion-script"; share=$(DESTDIR)$(PREFIX)/share; \
	  install -d $$share/bash-completion/completions $$share/zsh/vendor-completions $$share/fish/vendor_completions.d; \
	  $$complete bash | sed 1d >$$share/bash-completion/completions/$$program; \
	  $$complete zsh >$$share/zsh/vendor-completions/_$$program; \
	  $$complete fish >$$share/fish/vendor_completions.d/$$program.fish; \
	done
	test -e $(DESTDIR)/etc/martlet/martlet.yaml || install -D -m 644 -t $(DESTDIR)/etc/martlet config/martlet.yaml

deb: build deb-deps ## Build a Debian package into .build/deb
	BIN=$(BUILD)/release debian/rules clean binary

deb-deps: deps
	@$(call needs,dpkg-dev debhelper lintian mmdebstrap)

test-deb: deb $(CLIENTS) ## Install, use, upgrade and remove the package in a small Debian under a real systemd (takes minutes)
	BIN=$(BUILD)/release DEB=$(BUILD)/deb/next PACKAGE_VERSION=$$(dpkg-parsechangelog -S Version)+next debian/rules clean binary
	Tests/Package/run

# The commit or tag whose package the upgrade starts from.
FROM ?=
FROM_SOURCE = $(BUILD)/from/source

.PHONY: need-from
need-from:
	@test -n "$(FROM)" || { echo "Say which commit to upgrade from: make test-upgrade FROM=COMMIT"; exit 2; }

test-upgrade: need-from deb $(CLIENTS) ## The same, upgrading from another commit's package and back: make test-upgrade FROM=COMMIT (builds that package, too)
	rm -rf $(BUILD)/from && git clone -q . $(FROM_SOURCE) && git -C $(FROM_SOURCE) checkout -q $(FROM)
	$(MAKE) -C $(FROM_SOURCE) deb
	cp $(FROM_SOURCE)/.build/deb/martlet_*.deb $(BUILD)/from/
	BIN=$(BUILD)/release DEB=$(BUILD)/from/next PACKAGE_VERSION=$$(dpkg-parsechangelog -S Version)+next debian/rules clean binary
	Tests/Package/run $(BUILD)/from

print-docs: ## Regenerate config/martlet.yaml and docs/configuration.md from the code
	swift build --product martletd
	$(BUILD)/debug/martletd print-config > config/martlet.yaml
	$(BUILD)/debug/martletd print-config --markdown > docs/configuration.md

clean: ## Remove everything that was built
	rm -rf $(BUILD)
