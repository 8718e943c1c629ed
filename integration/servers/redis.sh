# Redis, for servers.sh: one server (also with TLS), a cluster of three masters, and a
# master and a replica with three sentinels. Debian's package starts a server of its own on
# port 6379 of loopback, which is not touched.
# shellcheck shell=bash disable=SC2154

redis_port=${KCL_REDIS_PORT:-16379}
redis_tls_port=${KCL_REDIS_TLS_PORT:-16390}
redis_cluster_ports=(${KCL_REDIS_CLUSTER_PORTS:-17001 17002 17003})
redis_replicated_ports=(${KCL_REDIS_REPLICATED_PORTS:-16401 16402})
redis_sentinel_ports=(${KCL_REDIS_SENTINEL_PORTS:-16411 16412 16413})

install_redis() {
  need redis-server redis-server redis-tools
  need redis-cli redis-tools
  need openssl openssl
}
install_rediscluster() { install_redis; }
install_redissentinel() { install_redis; }

# redis_conf GROUP NAME PORT LINE...: writes a configuration and prints where it is.
redis_conf() {
  local dir=$run/$1 file=$run/$1/$2.conf port=$3
  shift 3
  mkdir -p "$dir"
  printf '%s\n' "port $port" 'bind 127.0.0.1' 'protected-mode no' "dir $dir" "$@" >"$file"
  printf '%s\n' "$file"
}

# redis_all COMMAND PATTERN PORT...: tells whether all servers answer with the pattern.
redis_all() {
  local command=$1 pattern=$2 port
  shift 2
  for port in "$@"; do
    # shellcheck disable=SC2086
    timeout 5 redis-cli -h 127.0.0.1 -p "$port" $command 2>/dev/null | grep -q "$pattern" || return 1
  done
}

redis_up() { # redis_up NAME PORT...: waits until the servers of a group answer
  local name=$1 i
  shift
  for ((i = 0; i < 100; i++)); do
    if redis_all ping PONG "$@"; then return; fi
    sleep 0.1
  done
  tail -n 40 "$run/$name.log" >&2 || true
  stop_one "$name"
  die "$name did not start; its log: $run/$name.log"
}

start_redis() {
  local dir=$run/redis conf
  free_port "$redis_port" KCL_REDIS_PORT
  free_port "$redis_tls_port" KCL_REDIS_TLS_PORT
  rm -rf "$dir"
  mkdir -p "$dir"
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 30 -subj /CN=redis \
    -addext 'subjectAltName=IP:127.0.0.1' -keyout "$dir/key.pem" -out "$dir/cert.pem" >"$dir/openssl.log" 2>&1 ||
    die "no certificate, see $dir/openssl.log"
  conf=$(redis_conf redis single "$redis_port" 'save ""' 'appendonly no' "tls-port $redis_tls_port" 'tls-auth-clients no' \
    "tls-cert-file $dir/cert.pem" "tls-key-file $dir/key.pem" "tls-ca-cert-file $dir/cert.pem")
  launch redis "$files/redis-group.sh" "$conf"
  await redis 20
}
ready_redis() { redis_all ping PONG "$redis_port"; }
env_redis() {
  echo "export KCL_REDIS_URL=redis://127.0.0.1:$redis_port"
  echo "export KCL_REDIS_TLS_URL=rediss://127.0.0.1:$redis_tls_port"
  echo "export KCL_REDIS_CA=$run/redis/cert.pem"
}

start_rediscluster() {
  local port confs=() nodes=()
  rm -rf "$run/rediscluster"
  for port in "${redis_cluster_ports[@]}"; do
    free_port "$port" KCL_REDIS_CLUSTER_PORTS
    confs+=("$(redis_conf rediscluster "node-$port" "$port" 'save ""' 'appendonly no' 'cluster-enabled yes' \
      "cluster-config-file nodes-$port.conf" 'cluster-node-timeout 2000')")
    nodes+=("127.0.0.1:$port")
  done
  launch rediscluster "$files/redis-group.sh" "${confs[@]}"
  redis_up rediscluster "${redis_cluster_ports[@]}"
  redis-cli --cluster create "${nodes[@]}" --cluster-replicas 0 --cluster-yes >>"$run/rediscluster.log" 2>&1 || true
  await rediscluster 30
}
ready_rediscluster() { redis_all 'cluster info' cluster_state:ok "${redis_cluster_ports[@]}"; }
env_rediscluster() { echo "export KCL_REDIS_CLUSTER=$(printf '127.0.0.1:%s,' "${redis_cluster_ports[@]}" | sed 's/,$//')"; }

start_redissentinel() {
  local port confs=() master=${redis_replicated_ports[0]} role
  rm -rf "$run/redissentinel"
  for port in "${redis_replicated_ports[@]}"; do
    free_port "$port" KCL_REDIS_REPLICATED_PORTS
    role=()
    [ "$port" = "$master" ] || role=("replicaof 127.0.0.1 $master")
    confs+=("$(redis_conf redissentinel "server-$port" "$port" 'save ""' 'appendonly no' 'repl-diskless-sync-delay 0' "${role[@]}")")
  done
  for port in "${redis_sentinel_ports[@]}"; do
    free_port "$port" KCL_REDIS_SENTINEL_PORTS
    confs+=("$(redis_conf redissentinel "sentinel-$port" "$port" "sentinel monitor kcl 127.0.0.1 $master 2" \
      'sentinel down-after-milliseconds kcl 1000' 'sentinel failover-timeout kcl 5000')")
  done
  launch redissentinel "$files/redis-group.sh" "${confs[@]}"
  await redissentinel 30
}
# Ready when each sentinel knows the two others and the replica, and the replica is in step.
ready_redissentinel() {
  redis_all 'sentinel ckquorum kcl' '^OK 3 usable' "${redis_sentinel_ports[@]}" &&
    redis_all 'sentinel replicas kcl' master-link-status "${redis_sentinel_ports[@]}" &&
    [ "$(redis_count role '^master' "${redis_replicated_ports[@]}")" = 1 ] &&
    [ "$(redis_count 'info replication' 'state=online' "${redis_replicated_ports[@]}")" = 1 ]
}
redis_count() { # redis_count COMMAND PATTERN PORT...: how many servers answer with the pattern
  local command=$1 pattern=$2 port n=0
  shift 2
  for port in "$@"; do if redis_all "$command" "$pattern" "$port"; then n=$((n + 1)); fi; done
  echo "$n"
}
env_redissentinel() { echo "export KCL_REDIS_SENTINELS=$(printf '127.0.0.1:%s,' "${redis_sentinel_ports[@]}" | sed 's/,$//')"; }
