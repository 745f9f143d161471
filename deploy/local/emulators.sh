# Stand-ins of AWS on this machine, at pinned versions, for tests and for `deploy/local/aws.sh`. Sourced after needs.sh, from the
# root of the workspace. Everything goes into .tools; quick when it is there already.
#   Kinesis: kinesis-mock (npm, MIT) · DynamoDB: Amazon's DynamoDB Local (Maven Central) · S3 and SQS: moto (PyPI, Apache-2.0)

have_java() {
  command -v java >/dev/null 2>&1
}

have_javac() {
  command -v javac >/dev/null 2>&1
}

# The Python programs of tests/tools/requirements.txt. Installed again only when the pinned versions change, as all of these.
install_python_tools() {
  command -v python3 >/dev/null 2>&1 || missing 'python3' 'apt-get install python3 python3-venv'
  cmp -s tests/tools/requirements.txt .tools/python/installed.txt && return
  echo 'installing into .tools/python: the Python tracker, the analytics SDK, an emulator of SQS and S3, and a tester of interfaces'
  python3 -m venv --clear .tools/python || missing 'python3-venv' 'apt-get install python3-venv'
  .tools/python/bin/pip install --quiet --disable-pip-version-check --requirement tests/tools/requirements.txt
  cp tests/tools/requirements.txt .tools/python/installed.txt
}

install_node_tools() {
  command -v npm >/dev/null 2>&1 || missing 'npm' 'apt-get install nodejs npm'
  cmp -s tests/tools/node/package-lock.json .tools/node/installed.json && return
  echo 'installing into .tools/node: the Node and browser trackers, what drives the browser, and an emulator of Kinesis'
  mkdir -p .tools/node
  cp tests/tools/node/package.json tests/tools/node/package-lock.json .tools/node/
  npm ci --prefix .tools/node --ignore-scripts --silent --no-audit --no-fund
  cp tests/tools/node/package-lock.json .tools/node/installed.json
}

# Fetches what a list of tests/tools/java names from Maven Central into .tools/<name>/lib, and checks it.
install_jars() { # name
  local list=tests/tools/java/$1.sha256 into=.tools/$1
  cmp -s "$list" "$into/installed.sha256" && return
  command -v curl >/dev/null 2>&1 || missing 'curl' 'apt-get install curl'
  echo "installing into $into: $(wc -l <"$list") jars from Maven Central"
  rm -rf "$into"
  mkdir -p "$into/lib"
  sed -E 's|^[0-9a-f]+ +(.*/([^/]+))$|url = "https://repo1.maven.org/maven2/\1"\noutput = "'"$into"'/lib/\2"|' "$list" |
    curl --fail --no-progress-meter --show-error --location --retry 5 --retry-connrefused --connect-timeout 20 --parallel --parallel-max 16 --config - ||
    missing "jars of $list" 'Maven Central did not answer: https://repo1.maven.org/maven2'
  sed -E 's|^([0-9a-f]+ +).*/|\1|' "$list" | (cd "$into/lib" && sha256sum --check --strict --quiet) ||
    missing "jars of $list" 'Maven Central sent something else than pinned'
  cp "$list" "$into/installed.sha256"
}

# A worker of the Kinesis Client Library, for tests beside ours: kcl2 or kcl3. Compiled again only when its sources or jars change.
build_kcl() { # name
  install_jars "$1"
  local into=.tools/$1/classes sum
  sum=$(cat "tests/tools/java/$1.sha256" tests/kcl/src/*.java "tests/kcl/$1"/*.java | sha256sum)
  [ "$sum" = "$(cat "$into/sources.sha256" 2>/dev/null)" ] && return
  have_javac || missing 'javac 17' 'apt-get install openjdk-17-jdk-headless'
  rm -rf "$into"
  javac -Xlint:all,-processing,-classfile --release 17 -proc:none -cp ".tools/$1/lib/*" -d "$into" tests/kcl/src/*.java "tests/kcl/$1"/*.java
  echo "$sum" >"$into/sources.sha256"
}

install_emulators() {
  install_python_tools
  install_node_tools
  have_java || missing 'java 17' 'apt-get install openjdk-17-jre-headless'
  install_jars dynamodb-local
}
