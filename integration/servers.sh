#!/usr/bin/env bash
# Installs, starts and stops the servers that the integration tests run against,
# without Docker. Everything listens on loopback and lives in a cache folder outside
# the checkout, so only the first run downloads. See README.md in this folder.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
files=$here/servers
cache=${KCL_INTEGRATION_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/kcl-integration}
run=$cache/run
all=(localstack dynamodb kinesislocal kinesalite moto ministack redis rediscluster redissentinel javakcl multilangclients multilang3 multilang2)

localstack_port=${KCL_LOCALSTACK_PORT:-14566}
dynamodb_port=${KCL_DYNAMODB_PORT:-18000}
kinesislocal_port=${KCL_KINESISLOCAL_PORT:-14568}
kinesislocal_tls_port=${KCL_KINESISLOCAL_TLS_PORT:-14567}

dynamodb_version=3.3.1
dynamodb_sha256=41a32e0a840a1fa375d7b3955e60d4b1db94c423ef9e14a43ee9b4cf9c2fb536
kinesislocal_version=0.6.2

dynamodb_dir=$cache/dynamodb-local-$dynamodb_version
kinesislocal_dir=$cache/kinesis-local-$kinesislocal_version

usage() {
  cat <<USAGE
usage: servers.sh COMMAND [NAME...]      NAME: ${all[*]} (default: all)

  install   install what is missing into $cache
  start     install, start, wait until each answers; prints the endpoints as shell exports
  env       print the endpoints of the servers that run
  status    say which servers run
  stop      end the servers and every process that they started
USAGE
}

say() { printf 'servers: %s\n' "$*" >&2; }
die() {
  say "$*"
  exit 1
}

# --- what the machine must have ------------------------------------------------

# need COMMAND PACKAGE... installs Debian packages when COMMAND is missing.
need() {
  local cmd=$1
  shift
  command -v "$cmd" >/dev/null 2>&1 || apt_install "$cmd" "$@"
}

apt_install() {
  local what=$1
  shift
  local sudo=()
  [ "$(id -u)" = 0 ] || sudo=(sudo -n)
  command -v apt-get >/dev/null 2>&1 || die "$what is missing: install it (Debian: $*)"
  say "$what is missing, installing $*"
  {
    "${sudo[@]}" apt-get update -q
    "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "$@"
  } >>"$cache/apt.log" 2>&1 || die "could not install $* (see $cache/apt.log); $what is needed"
}

# The absolute path of a java of 17 or later.
java_bin() { readlink -f "$(command -v java)"; }

# working_python VERSION: prints an interpreter of that version that can make virtual
# environments. A pyenv shim may exist and still fail, so each candidate is run.
working_python() {
  local version=$1 candidate
  for candidate in ${PYTHON:+"$PYTHON"} "python$version" "$HOME"/.pyenv/versions/"$version"*/bin/"python$version" python3; do
    if "$candidate" -c "import ensurepip, ssl, sqlite3, sys, venv
assert '%d.%d' % sys.version_info[:2] == '$version'" >/dev/null 2>&1; then
      "$candidate" -c 'import sys; print(sys.executable)'
      return 0
    fi
  done
  return 1
}

# --- processes -----------------------------------------------------------------

# A process is remembered as PID:STARTTIME, so that a pid used again by somebody
# else is never taken for ours.
identity() {
  local stat
  stat=$(cat "/proc/$1/stat" 2>/dev/null) || return 1
  read -ra stat <<<"${stat##*) }" # behind the command name, which may hold spaces: from field 3 on
  # field 3 is the state, field 22 the start time
  [ "${stat[0]}" = Z ] || printf '%s:%s\n' "$1" "${stat[19]}"
}

alive() { [ "$(identity "${1%%:*}" 2>/dev/null)" = "$1" ]; }

# tree PID prints the identities of a process and all its descendants.
tree() {
  local child
  identity "$1" || return 0
  for child in $(ps -o pid= --ppid "$1"); do tree "$child"; done
}

running() {
  local first
  if declare -F "running_$1" >/dev/null; then # no process: it is installed, or not
    "running_$1"
    return
  fi
  [ -f "$run/$1.pids" ] && read -r first <"$run/$1.pids" && alive "$first"
}

# Remembers the children too: they may live in sessions of their own and outlive the parent.
remember() {
  local pid=$1 name=$2 now
  now=$(tree "$pid")
  { printf '%s\n' "$now"; cat "$run/$name.pids" 2>/dev/null || true; } | awk 'NF && !seen[$0]++' >"$run/$name.pids.new"
  mv "$run/$name.pids.new" "$run/$name.pids"
}

stop_one() {
  local name=$1 file=$run/$1.pids first id i
  [ -f "$file" ] || return 0
  read -r first <"$file" || true
  if [ -n "$first" ] && alive "$first"; then remember "${first%%:*}" "$name"; fi
  mapfile -t ids <"$file"
  for id in "${ids[@]}"; do if alive "$id"; then kill -TERM "${id%%:*}" 2>/dev/null || true; fi; done
  for ((i = 0; i < 100; i++)); do
    local left=0
    for id in "${ids[@]}"; do if alive "$id"; then left=1; fi; done
    [ "$left" = 1 ] || break
    sleep 0.1
  done
  for id in "${ids[@]}"; do if alive "$id"; then kill -KILL "${id%%:*}" 2>/dev/null || true; fi; done
  rm -f "$file"
  say "$name stopped"
}

# launch NAME COMMAND...: runs it in the background, in a session of its own.
launch() {
  local name=$1 pid
  shift
  rm -f "$run/$name.pids"
  setsid "$@" >"$run/$name.log" 2>&1 </dev/null &
  pid=$!
  identity "$pid" >"$run/$name.pids"
}

# await NAME SECONDS: waits until ready_NAME says so; on failure stops and shows the log.
await() {
  local name=$1 deadline=$((SECONDS + $2)) first
  until "ready_$name"; do
    if ! running "$name" || [ "$SECONDS" -ge "$deadline" ]; then
      tail -n 40 "$run/$name.log" >&2 || true
      stop_one "$name"
      die "$name did not become ready; its log: $run/$name.log"
    fi
    sleep 0.2
  done
  read -r first <"$run/$name.pids"
  remember "${first%%:*}" "$name"
}

free_port() {
  if (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; then
    die "port $1 is taken by another process; set $2 to another one"
  fi
}

# aws_call URL SERVICE TARGET prints the HTTP status of one unsigned-in-effect call
# (none of these servers checks signatures, but they read the service from the header).
aws_call() {
  curl -s -o "$run/probe" -w '%{http_code}' --max-time 10 "$1/" \
    -H "Authorization: AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/$2/aws4_request, SignedHeaders=host, Signature=0" \
    -H "X-Amz-Target: $3" -H "X-Amz-Date: 20260101T000000Z" \
    -H "Content-Type: application/x-amz-json-1.${4:-1}" -d '{}' 2>/dev/null || true
}

# installed DIR: a folder counts only when its install ran to the end.
installed() { [ -f "$1/.installed" ]; }

# --- DynamoDB Local ------------------------------------------------------------

install_dynamodb() {
  need java default-jdk-headless
  need curl curl ca-certificates
  if installed "$dynamodb_dir"; then return; fi
  need javac default-jdk-headless
  need mvn maven
  say "installing DynamoDB Local $dynamodb_version (Amazon's own licence: development and test only)"
  rm -rf "$dynamodb_dir"
  mkdir -p "$dynamodb_dir"
  cp "$files/pom.xml" "$dynamodb_dir/"
  mvn -B -q -f "$dynamodb_dir/pom.xml" dependency:copy-dependencies \
    -DincludeScope=runtime -DoutputDirectory="$dynamodb_dir/lib" >"$dynamodb_dir/install.log" 2>&1 ||
    die "maven failed, see $dynamodb_dir/install.log"
  echo "$dynamodb_sha256  $dynamodb_dir/lib/DynamoDBLocal-$dynamodb_version.jar" | sha256sum -c --quiet - ||
    die "the DynamoDB Local jar is not the one we know"
  javac -d "$dynamodb_dir" "$files/Loopback.java"
  touch "$dynamodb_dir/.installed"
}

start_dynamodb() {
  free_port "$dynamodb_port" KCL_DYNAMODB_PORT
  DDB_LOCAL_TELEMETRY=0 launch dynamodb "$(java_bin)" -Xmx256m -XX:TieredStopAtLevel=1 \
    -Djava.library.path="$dynamodb_dir/lib" -cp "$dynamodb_dir:$dynamodb_dir/lib/*" \
    Loopback -inMemory -sharedDb -disableTelemetry -port "$dynamodb_port"
  await dynamodb 60
}

ready_dynamodb() { [ "$(aws_call "http://127.0.0.1:$dynamodb_port" dynamodb DynamoDB_20120810.ListTables 0)" = 200 ]; }
env_dynamodb() { echo "export KCL_DYNAMODB_URL=http://127.0.0.1:$dynamodb_port"; }

# --- kinesis-local -------------------------------------------------------------

install_node() {
  need node nodejs npm
  need npm npm
}

npm_install() { # npm_install DIR [PACKAGE]: kinesis-local, or the package, into DIR/node_modules
  mkdir -p "$1"
  npm install --ignore-scripts --no-audit --no-fund --prefix "$1" "${2:-kinesis-local@$kinesislocal_version}" >"$1/install.log" 2>&1 ||
    die "npm failed, see $1/install.log"
}

install_kinesislocal() {
  install_node
  need curl curl ca-certificates
  cp "$files/loopback.js" "$cache/loopback.js"
  if installed "$kinesislocal_dir"; then return; fi
  say "installing kinesis-local $kinesislocal_version"
  rm -rf "$kinesislocal_dir"
  npm_install "$kinesislocal_dir"
  touch "$kinesislocal_dir/.installed"
}

start_kinesislocal() {
  local package=$kinesislocal_dir/node_modules/kinesis-local
  free_port "$kinesislocal_port" KCL_KINESISLOCAL_PORT
  free_port "$kinesislocal_tls_port" KCL_KINESISLOCAL_TLS_PORT
  KINESIS_MOCK_CERT_PATH=$package/server.json KINESIS_MOCK_TLS_PORT=$kinesislocal_tls_port \
    KINESIS_MOCK_PLAIN_PORT=$kinesislocal_port SHARD_LIMIT=200 LOG_LEVEL=ERROR \
    launch kinesislocal node --require "$cache/loopback.js" "$package/main.js"
  await kinesislocal 60
}

ready_kinesislocal() {
  curl -fs -o /dev/null --max-time 5 "http://127.0.0.1:$kinesislocal_port/healthcheck" &&
    [ "$(aws_call "http://127.0.0.1:$kinesislocal_port" kinesis Kinesis_20131202.ListStreams)" = 200 ]
}
env_kinesislocal() { echo "export KCL_KINESISLOCAL_URL=http://127.0.0.1:$kinesislocal_port"; }

# --- LocalStack in host mode ---------------------------------------------------

# 4.14.0 is the last open version and needs Python 3.13; on 3.12 and 3.11 its predecessor
# does the same for us. Each has its own folder.
localstack_setup() {
  local version
  for version in 3.13 3.12 3.11; do
    if python=$(working_python "$version"); then
      localstack_version=4.14.0
      [ "$version" = 3.13 ] || localstack_version=4.13.1
      localstack_dir=$cache/localstack-$localstack_version-py$version
      return 0
    fi
  done
  return 1
}

install_localstack() {
  need curl curl ca-certificates
  if ! localstack_setup; then
    apt_install "Python 3.11 or later with venv" python3 python3-venv
    localstack_setup || die "LocalStack needs Python 3.13 (or 3.12, 3.11) with venv"
  fi
  install_dynamodb
  install_kinesislocal
  if installed "$localstack_dir"; then return; fi
  say "installing LocalStack $localstack_version with $python"
  rm -rf "$localstack_dir"
  mkdir -p "$localstack_dir"
  "$python" -m venv "$localstack_dir/venv"
  # The pins after the first: later versions of these no longer import with this LocalStack.
  "$localstack_dir/venv/bin/pip" install -q --disable-pip-version-check \
    "localstack-core[base-runtime]==$localstack_version" cbor2==5.8.0 pyopenssl==25.3.0 \
    localstack-twisted==25.5.0 moto-ext==5.1.22 pymongo==4.20.0 >"$localstack_dir/install.log" 2>&1 ||
    die "pip failed, see $localstack_dir/install.log"
  if [ "$localstack_version" = 4.13.1 ]; then
    # Its annotations use a syntax of Python 3.13; unevaluated, they do no harm.
    local api
    api=$("$localstack_dir/venv/bin/python" -c 'import importlib.util as u
print(u.find_spec("localstack").submodule_search_locations[0])')/packages/api.py
    grep -q '^from __future__ import annotations' "$api" || sed -i '1i from __future__ import annotations' "$api"
  fi

  # What LocalStack would download by itself, where it looks for it.
  local lib=$localstack_dir/root/var/lib/localstack/lib
  local ddb=$lib/dynamodb-local/2
  npm_install "$lib/kinesis-local/$kinesislocal_version"
  mkdir -p "$ddb" "$lib/java/21/bin"
  ln -s "$dynamodb_dir/lib" "$ddb/DynamoDBLocal_lib"
  ln -s "$dynamodb_dir/Loopback.class" "$ddb/Loopback.class"
  : >"$ddb/DynamoDBLocal.jar" # its "is installed" mark
  # LocalStack runs its own java with an agent that is one more download (it only lifts a
  # limit on indexes) and with -jar; ours runs the launcher on loopback instead.
  cat >"$lib/java/21/bin/java" <<WRAPPER
#!/usr/bin/env bash
args=()
while [ \$# -gt 0 ]; do
  case \$1 in
    -javaagent:*) ;;
    -jar) args+=(-cp "$ddb:$ddb/DynamoDBLocal_lib/*" Loopback); shift ;;
    *) args+=("\$1") ;;
  esac
  shift
done
exec "$(java_bin)" "\${args[@]}"
WRAPPER
  chmod +x "$lib/java/21/bin/java"
  touch "$localstack_dir/.installed"
}

start_localstack() {
  free_port "$localstack_port" KCL_LOCALSTACK_PORT
  # OVERRIDE_IN_DOCKER: with /.dockerenv it would bind 0.0.0.0. twisted: hypercorn gets stuck
  # with a dozen open streams, and twisted honours only IPv6 hosts. DISABLE_EVENTS: no telemetry.
  OVERRIDE_IN_DOCKER=0 FILESYSTEM_ROOT=$localstack_dir/root SERVICES=kinesis,dynamodb EAGER_SERVICE_LOADING=1 \
    GATEWAY_SERVER=twisted GATEWAY_LISTEN="[::ffff:127.0.0.1]:$localstack_port" DNS_ADDRESS=0 \
    SKIP_SSL_CERT_DOWNLOAD=1 DISABLE_EVENTS=1 KINESIS_MOCK_VERSION=$kinesislocal_version KINESIS_LATENCY=0 \
    KINESIS_SHARD_LIMIT=200 DYNAMODB_IN_MEMORY=1 DYNAMODB_SHARE_DB=1 DDB_LOCAL_TELEMETRY=0 \
    NODE_OPTIONS="--require $cache/loopback.js" \
    launch localstack "$localstack_dir/venv/bin/python" -m localstack.runtime.main
  await localstack 120
}

# Not its health page, which says "running" before the Kinesis process exists: real calls.
ready_localstack() {
  local url=http://127.0.0.1:$localstack_port
  [ "$(aws_call "$url" kinesis Kinesis_20131202.ListStreams)" = 200 ] &&
    [ "$(aws_call "$url" dynamodb DynamoDB_20120810.ListTables 0)" = 200 ]
}
env_localstack() { echo "export KCL_LOCALSTACK_URL=http://127.0.0.1:$localstack_port"; }

. "$files/small.sh"
. "$files/redis.sh"
. "$files/java.sh"
. "$files/multilang.sh"

# --- commands ------------------------------------------------------------------

main() {
  local command=${1:-help} name names
  shift || true
  names=("$@")
  [ ${#names[@]} -gt 0 ] || names=("${all[@]}")
  for name in "${names[@]}"; do
    case " ${all[*]} " in *" $name "*) ;; *) usage >&2; die "unknown server $name" ;; esac
  done
  case $command in
    install | start | env | status | stop) mkdir -p "$run" ;;
  esac
  case $command in
    install)
      for name in "${names[@]}"; do "install_$name"; done
      ;;
    start)
      need setsid util-linux
      need ps procps
      for name in "${names[@]}"; do
        local began=$SECONDS
        "install_$name"
        if ! running "$name"; then
          stop_one "$name" # what an earlier run may have left behind
          "start_$name"
          say "$name is ready after $((SECONDS - began)) s"
        fi
      done
      for name in "${names[@]}"; do "env_$name"; done
      ;;
    env)
      for name in "${names[@]}"; do if running "$name"; then "env_$name"; fi; done
      ;;
    status)
      for name in "${names[@]}"; do
        if running "$name"; then echo "$name running $("env_$name" | cut -d= -f2 | paste -sd ' ')"; else echo "$name stopped"; fi
      done
      ;;
    stop)
      for name in "${names[@]}"; do stop_one "$name"; done
      ;;
    help | -h | --help) usage ;;
    *)
      usage >&2
      exit 2
      ;;
  esac
}

main "$@"
