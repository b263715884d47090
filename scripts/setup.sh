# shellcheck shell=bash disable=SC2034  # the lists are used by name
# What ./run and ./test share: the packages they need, and how they build. Sourced from the top of the tree.

# Pinned by the distribution: Debian 12 has one version of each.
# What builds and runs Kaon itself…
RUN_PACKAGES=(ccache cmake g++ libcli11-dev libfmt-dev libssl-dev libuv1-dev libyaml-cpp-dev ninja-build)
# …and what its tests, benchmarks and modules need besides.
TEST_PACKAGES=("${RUN_PACKAGES[@]}" clang-14 coreutils curl imagemagick iso-codes libbenchmark-dev libclang-rt-14-dev libgtest-dev
  nginx-light nodejs openssl procps python3 python3-pytest strace util-linux wrk)

RUN_HEADERS=(CLI/CLI.hpp fmt/core.h openssl/ssl.h uv.h yaml-cpp/yaml.h)
TEST_HEADERS=("${RUN_HEADERS[@]}" benchmark/benchmark.h gtest/gtest.h)
RUN_PROGRAMS=(c++ cmake ninja)
TEST_PROGRAMS=("${RUN_PROGRAMS[@]}" clang++-14 convert curl node openssl python3 setarch strace wrk)

say() { printf '\033[1m== %s\033[0m\n' "$*" >&2; }

is_debian_12() {
  command -v apt-get dpkg-query > /dev/null && [[ -r /etc/os-release ]] &&
    [[ "$(. /etc/os-release && echo "${ID-}-${VERSION_ID-}")" == debian-12 ]]
}

# What a package list's answer depends on: the list, and the state of dpkg.
packages_stamp() { { printf '%s\n' "$@" && stat -c '%Y %s' /var/lib/dpkg/status; } | sha256sum | cut -d ' ' -f 1; }

as_root() {
  if [[ "$(id -u)" == 0 ]]; then
    "$@"
  elif ! command -v sudo > /dev/null; then
    echo "not root, and there is no sudo; as root, run: $*" >&2
    exit 1
  elif [[ -t 0 ]]; then
    sudo "$@"
  else
    sudo -n "$@"
  fi
}

install_missing() {
  local installed name missing=()
  # Not ${db:Status-Abbrev} of a list, which fails when one of them is unknown and then says nothing of the rest.
  installed=" $(dpkg-query -W -f '${db:Status-Status} ${binary:Package}\n' | sed -n 's/^installed \([^:]*\).*/\1/p' | tr '\n' ' ')"
  for name in "$@"; do
    [[ "$installed" == *" $name "* ]] || missing+=("$name")
  done
  ((${#missing[@]})) || return 0
  say "installing ${#missing[@]} missing packages: ${missing[*]}"
  local apt=(env DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0)
  as_root "${apt[@]}" update >&2
  as_root "${apt[@]}" install -y --no-install-recommends "${missing[@]}" >&2
}

# Elsewhere the packages have other names; go on when what they bring is there.
check_by_hand() {
  local kind=$1 missing=() name
  local -n programs=${kind^^}_PROGRAMS headers=${kind^^}_HEADERS packages=${kind^^}_PACKAGES
  for name in "${programs[@]}"; do
    command -v "$name" > /dev/null || missing+=("$name")
  done
  for name in "${headers[@]}"; do
    ! command -v c++ > /dev/null || echo "#include <$name>" | c++ -std=c++20 -x c++ -fsyntax-only - 2> /dev/null || missing+=("$name")
  done
  ((${#missing[@]})) || return 0
  echo "This system is not Debian 12, so nothing was installed, and these are missing: ${missing[*]}" >&2
  echo "The packages, by their names in Debian 12: ${packages[*]}" >&2
  exit 1
}

# setup_packages run|test: all packages of that list are there afterwards. The second time it costs a checksum.
setup_packages() {
  if ! is_debian_12; then
    check_by_hand "$1"
    return
  fi
  local -n list=${1^^}_PACKAGES
  local stamp=build/.packages-$1
  [[ -f "$stamp" && "$(< "$stamp")" == "$(packages_stamp "${list[@]}")" ]] && return
  install_missing "${list[@]}"
  mkdir -p build
  packages_stamp "${list[@]}" > "$stamp"
}

# Ninja configures again by itself when a CMake file has changed.
configure() {
  [[ ! -f build/$1/build.ninja ]] || return 0
  say "configuring build/$1"
  mkdir -p build
  cmake --preset "$1" > "build/$1.configure.log" 2>&1 || {
    cat "build/$1.configure.log" >&2
    return 1
  }
}

# build PRESET [TARGET…]
build() {
  configure "$1" || return
  NINJA_STATUS="[%f/%t %es] " ninja -C "build/$1" -j "$(nproc)" "${@:2}" >&2
}
