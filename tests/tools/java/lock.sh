#!/usr/bin/env bash
# Writes the lists of jars again, after a version was changed in one of the *.xml here. Needs Maven; installing from the lists does not.
#   bash tests/tools/java/lock.sh
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
resolved=$(mktemp -d)
trap 'rm -r "$resolved"' EXIT
for pom in *.xml; do
  name=${pom%.xml}
  mvn --batch-mode --quiet --file "$pom" dependency:copy-dependencies -Dmdep.useRepositoryLayout=true -DoutputDirectory="$resolved/$name"
  # Native libraries of other systems are left out.
  (cd "$resolved/$name" && find . -name '*.jar' -o -name '*-linux-amd64-*.so' | sed 's|^\./||' | LC_ALL=C sort | xargs sha256sum) >"$name.sha256"
done
