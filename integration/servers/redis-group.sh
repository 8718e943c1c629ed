#!/usr/bin/env bash
# Runs one redis-server for each configuration file until it is stopped itself. A server
# that ends comes back after ten seconds, when sentinels have long replaced it.
# KCL_REDIS_SERVER is another redis-server or valkey-server to test.
set -u
for conf in "$@"; do
  mode=()
  [[ ${conf##*/} != sentinel-* ]] || mode=(--sentinel)
  while :; do
    "${KCL_REDIS_SERVER:-redis-server}" "$conf" "${mode[@]}"
    sleep 10
  done &
done
wait
