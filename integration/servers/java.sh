# Workers of the Java KCL, for servers.sh: the newest 3.x and the newest 2.x from Maven Central, and
# java/JavaWorker.java compiled for each. They are no servers: the tests start a worker by the
# command that the environment names.
# shellcheck shell=bash disable=SC2154

javakcl3_version=3.5.1
javakcl3_sha256=4dedd555cd93082dfcfcf6acfc688443a88bc13e40cff1d7cd66b216f357d59c
javakcl2_version=2.7.2
javakcl2_sha256=959f48508caaf004e34211c3e5624cd177d512f6718d7b49ee309b8023a12747

javakcl3_dir=$cache/java-kcl-$javakcl3_version
javakcl2_dir=$cache/java-kcl-$javakcl2_version

install_javakcl() {
  need java default-jdk-headless
  need javac default-jdk-headless
  javakcl_fetch "$javakcl3_dir" "$javakcl3_version" "$javakcl3_sha256"
  javakcl_fetch "$javakcl2_dir" "$javakcl2_version" "$javakcl2_sha256"
  javakcl_compile "$javakcl3_dir"
  javakcl_compile "$javakcl2_dir"
}

javakcl_fetch() { # javakcl_fetch DIR VERSION SHA256
  local dir=$1 version=$2
  if installed "$dir"; then return; fi
  need mvn maven
  say "installing the Java KCL $version"
  rm -rf "$dir"
  mkdir -p "$dir/lib"
  cp "$here/java/pom.xml" "$dir/"
  mvn -B -q -f "$dir/pom.xml" "-Dkcl.version=$version" dependency:copy-dependencies \
    -DincludeScope=runtime -DoutputDirectory="$dir/lib" >"$dir/install.log" 2>&1 ||
    die "maven failed, see $dir/install.log"
  echo "$3  $dir/lib/amazon-kinesis-client-$version.jar" | sha256sum -c --quiet - ||
    die "the jar of the Java KCL $version is not the one we know"
  touch "$dir/.installed"
}

# Compiled again when the source has changed. The jars are 130: naming them by * costs no start-up time.
javakcl_compile() { # javakcl_compile DIR
  local dir=$1 source=$here/java/JavaWorker.java sum
  sum=$(sha256sum <"$source")
  if [ "$(cat "$dir/.compiled" 2>/dev/null)" = "$sum" ]; then return; fi
  javac -d "$dir" -cp "$dir/lib/*" "$source"
  cat >"$dir/worker" <<WORKER
#!/usr/bin/env bash
exec "$(java_bin)" -Xmx256m -XX:TieredStopAtLevel=1 -XX:+UseSerialGC -cp "$dir:$dir/lib/*" \\
  -Dorg.slf4j.simpleLogger.defaultLogLevel="\${LOG_LEVEL:-warn}" -Dorg.slf4j.simpleLogger.showDateTime=true JavaWorker
WORKER
  chmod +x "$dir/worker"
  printf '%s\n' "$sum" >"$dir/.compiled"
}

running_javakcl() { [ -f "$javakcl3_dir/.compiled" ] && [ -f "$javakcl2_dir/.compiled" ]; }
start_javakcl() { :; }
env_javakcl() {
  echo "export KCL_JAVA_KCL3=$javakcl3_dir/worker"
  echo "export KCL_JAVA_KCL2=$javakcl2_dir/worker"
}
