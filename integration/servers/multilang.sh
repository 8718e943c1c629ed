# The MultiLang world, for servers.sh: the Java MultiLangDaemon, newest 3.x and newest 2.x, and the
# clients that people have, amazon_kclpy (PyPI) and aws-kcl (npm). They are no servers: the tests
# start a daemon by the command that the environment names.
# shellcheck shell=bash disable=SC2154

multilang3_version=3.1.3
multilang2_version=2.7.2
kclpy_version=3.2.0
kclpy_sha256=62e81cc84714c920fe6aa5d61837b298fe7e01f6326dcb564b12ab8e6c4aca4e
awskcl_version=2.3.2

multilang3_dir=$cache/java-multilang-$multilang3_version
multilang2_dir=$cache/java-multilang-$multilang2_version
kclpy_dir=$cache/kclpy-$kclpy_version
awskcl_dir=$cache/aws-kcl-$awskcl_version

install_multilang3() { multilang_java "$multilang3_dir" "$multilang3_version"; }
install_multilang2() { multilang_java "$multilang2_dir" "$multilang2_version"; }

install_multilangclients() {
  install_kclpy
  install_awskcl
}

# --- the Java daemon -----------------------------------------------------------

multilang_java() { # multilang_java DIR VERSION
  local dir=$1
  need java default-jdk-headless
  need sha256sum coreutils
  multilang_jars "$dir" "$files/jars/multilang-$2.txt"
  cat >"$dir/daemon" <<DAEMON
#!/usr/bin/env bash
exec "$(java_bin)" \${KCL_JAVA_OPTIONS:--Xmx256m -XX:TieredStopAtLevel=1 -XX:+UseSerialGC} -cp "$dir/lib/*" \\
  software.amazon.kinesis.multilang.MultiLangDaemon "\$@"
DAEMON
  chmod +x "$dir/daemon"
}

# multilang_jars DIR LIST brings the jars of the list into DIR/lib. Each line of the list is a
# SHA-256 sum and GROUP:ARTIFACT:VERSION. A jar whose sum is wrong was cut or changed: it is removed
# and downloaded again, and the jars that are right stay. So a download that was cut goes on.
multilang_jars() {
  local dir=$1 list=$2 attempt bad
  mkdir -p "$dir/lib"
  for attempt in 1 2 3 4; do
    bad=$(multilang_wrong "$dir" "$list")
    [ -n "$bad" ] || return 0
    [ "$attempt" -lt 4 ] || break
    need mvn maven
    say "downloading $(wc -l <<<"$bad") of $(wc -l <"$list") jars into $dir"
    multilang_pom "$dir" "$bad"
    mvn -B -q -f "$dir/pom.xml" "-Dmaven.repo.local=$cache/maven" dependency:copy \
      >"$dir/install.log" 2>&1 || say "maven failed, see $dir/install.log"
  done
  say "these jars are missing or are not the ones we know:"
  printf '%s\n' "$bad" >&2
  die "the jars of $dir are incomplete; a second run goes on where this one stopped"
}

# multilang_wrong DIR LIST prints the artifacts whose jar is missing or has another sum, and removes
# what is there of them.
multilang_wrong() {
  local dir=$1 list=$2 sum artifact group name version jar
  while read -r sum artifact; do
    IFS=: read -r group name version <<<"$artifact"
    jar=$dir/lib/$name-$version.jar
    if ! echo "$sum  $jar" | sha256sum -c --status - 2>/dev/null; then
      rm -rf "$jar" "$cache/maven/${group//.//}/$name/$version"
      echo "$artifact"
    fi
  done <"$list"
}

multilang_pom() { # multilang_pom DIR ARTIFACTS writes a project that copies these jars to DIR/lib
  local artifact group name version
  {
    cat <<'POM'
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>kcl.integration</groupId>
  <artifactId>multilang</artifactId>
  <version>1</version>
  <packaging>pom</packaging>
  <build><plugins><plugin>
    <groupId>org.apache.maven.plugins</groupId>
    <artifactId>maven-dependency-plugin</artifactId>
    <configuration>
      <outputDirectory>${project.basedir}/lib</outputDirectory>
      <artifactItems>
POM
    while IFS=: read -r group name version; do
      printf '        <artifactItem><groupId>%s</groupId><artifactId>%s</artifactId><version>%s</version></artifactItem>\n' \
        "$group" "$name" "$version"
    done <<<"$2"
    printf '      </artifactItems>\n    </configuration>\n  </plugin></plugins></build>\n</project>\n'
  } >"$1/pom.xml"
}

# --- the clients ---------------------------------------------------------------

# The installer of amazon_kclpy wants its jars; the Python files of the source package do without.
install_kclpy() {
  local python
  if installed "$kclpy_dir"; then return; fi
  python=$(multilang_python)
  say "installing amazon_kclpy $kclpy_version"
  rm -rf "$kclpy_dir"
  mkdir -p "$kclpy_dir"
  "$python" -m venv "$kclpy_dir/venv"
  "$kclpy_dir/venv/bin/pip" download -q --disable-pip-version-check --no-deps --no-binary :all: \
    -d "$kclpy_dir" "amazon_kclpy==$kclpy_version" >"$kclpy_dir/install.log" 2>&1 ||
    die "pip failed, see $kclpy_dir/install.log"
  echo "$kclpy_sha256  $kclpy_dir/amazon_kclpy-$kclpy_version.tar.gz" | sha256sum -c --quiet - ||
    die "the source of amazon_kclpy $kclpy_version is not the one we know"
  tar -xzf "$kclpy_dir/amazon_kclpy-$kclpy_version.tar.gz" -C "$kclpy_dir" --strip-components=1
  touch "$kclpy_dir/.installed"
}

# multilang_python prints a Python 3 that can make virtual environments.
multilang_python() {
  local version
  for version in 3.13 3.12 3.11; do
    if working_python "$version"; then return; fi
  done
  apt_install "Python 3.11 or later with venv" python3 python3-venv >&2
  command -v python3
}

install_awskcl() {
  install_node
  if installed "$awskcl_dir"; then return; fi
  say "installing aws-kcl $awskcl_version"
  rm -rf "$awskcl_dir"
  npm_install "$awskcl_dir" "aws-kcl@$awskcl_version"
  touch "$awskcl_dir/.installed"
}

running_multilangclients() { installed "$kclpy_dir" && installed "$awskcl_dir"; }
start_multilangclients() { :; }
env_multilangclients() {
  echo "export KCL_KCLPY=$kclpy_dir"
  echo "export KCL_AWS_KCL=$awskcl_dir/node_modules"
}

running_multilang3() { [ -x "$multilang3_dir/daemon" ]; }
start_multilang3() { :; }
env_multilang3() { echo "export KCL_JAVA_MULTILANG3=$multilang3_dir/daemon"; }

running_multilang2() { [ -x "$multilang2_dir/daemon" ]; }
start_multilang2() { :; }
env_multilang2() { echo "export KCL_JAVA_MULTILANG2=$multilang2_dir/daemon"; }
