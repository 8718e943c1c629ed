# Small servers with a Kinesis of their own, for servers.sh: kinesalite (npm), moto and
# MiniStack (PyPI). Each starts in a second or two and needs nothing else.
# shellcheck shell=bash disable=SC2154

kinesalite_port=${KCL_KINESALITE_PORT:-14571}
moto_port=${KCL_MOTO_PORT:-14572}
ministack_port=${KCL_MINISTACK_PORT:-14573}

kinesalite_version=3.3.3
moto_version=5.2.5
ministack_version=1.5.33

kinesalite_dir=$cache/kinesalite-$kinesalite_version
moto_dir=$cache/moto-$moto_version
ministack_dir=$cache/ministack-$ministack_version

# --- kinesalite ----------------------------------------------------------------

install_kinesalite() {
  install_node
  need curl curl ca-certificates
  cp "$files/loopback.js" "$cache/loopback.js"
  if installed "$kinesalite_dir"; then return; fi
  say "installing kinesalite $kinesalite_version"
  rm -rf "$kinesalite_dir"
  npm_install "$kinesalite_dir" "kinesalite@$kinesalite_version"
  touch "$kinesalite_dir/.installed"
}

start_kinesalite() {
  free_port "$kinesalite_port" KCL_KINESALITE_PORT
  launch kinesalite node --require "$cache/loopback.js" "$kinesalite_dir/node_modules/kinesalite/cli.js" \
    --port "$kinesalite_port" --shardLimit 200
  await kinesalite 30
}

ready_kinesalite() { [ "$(aws_call "http://127.0.0.1:$kinesalite_port" kinesis Kinesis_20131202.ListStreams)" = 200 ]; }
env_kinesalite() { echo "export KCL_KINESALITE_URL=http://127.0.0.1:$kinesalite_port"; }

# --- moto and MiniStack --------------------------------------------------------

pip_install() { # pip_install DIR PACKAGE: into DIR/venv, unless that is done
  local version python
  need curl curl ca-certificates
  if installed "$1"; then return; fi
  for version in 3.13 3.12 3.11; do
    if python=$(working_python "$version"); then break; fi
  done
  if [ -z "$python" ]; then
    apt_install "Python 3.11 or later with venv" python3 python3-venv
    python=$(command -v python3)
  fi
  say "installing $2 with $python"
  rm -rf "$1"
  mkdir -p "$1"
  "$python" -m venv "$1/venv"
  "$1/venv/bin/pip" install -q --disable-pip-version-check "$2" >"$1/install.log" 2>&1 ||
    die "pip failed, see $1/install.log"
  touch "$1/.installed"
}

install_moto() { pip_install "$moto_dir" "moto[server]==$moto_version"; }

start_moto() {
  free_port "$moto_port" KCL_MOTO_PORT
  launch moto "$moto_dir/venv/bin/moto_server" -H 127.0.0.1 -p "$moto_port"
  await moto 60
}

ready_moto() { [ "$(aws_call "http://127.0.0.1:$moto_port" kinesis Kinesis_20131202.ListStreams)" = 200 ]; }
env_moto() { echo "export KCL_MOTO_URL=http://127.0.0.1:$moto_port"; }

install_ministack() { pip_install "$ministack_dir" "ministack==$ministack_version"; }

start_ministack() {
  free_port "$ministack_port" KCL_MINISTACK_PORT
  BIND_HOST=127.0.0.1 GATEWAY_PORT=$ministack_port IOT_MTLS_ENABLED=0 \
    launch ministack "$ministack_dir/venv/bin/ministack"
  await ministack 60
}

ready_ministack() { [ "$(aws_call "http://127.0.0.1:$ministack_port" kinesis Kinesis_20131202.ListStreams)" = 200 ]; }
env_ministack() { echo "export KCL_MINISTACK_URL=http://127.0.0.1:$ministack_port"; }
