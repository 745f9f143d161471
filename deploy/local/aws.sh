#!/usr/bin/env bash
# The pipeline on this machine as it runs on AWS: streams in Kinesis, leases in DynamoDB, objects in S3, all three by stand-ins that
# are empty at every start and gone at the end.
#   bash deploy/local/aws.sh [arguments of `snowmelt run`]
# Made for Debian 12 with Rust, Node and Python; PostgreSQL and Java come from Debian, the stand-ins from npm, Maven Central and PyPI,
# pinned, into .tools. Stop with Ctrl-C.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
source deploy/local/needs.sh
source deploy/local/emulators.sh

need_cargo
packages=()
have_postgres || packages+=(postgresql-15)
have_compiler || packages+=(build-essential cmake)
have_java || packages+=(openjdk-17-jre-headless)
install "${packages[@]}"
install_emulators

echo "building snowmelt and its stand-ins (the first time takes some minutes)"
cargo build --profile quick --locked -p snowmelt -p snowmelt-standins

echo "starting stand-ins of Kinesis, DynamoDB and S3"
endpoints=$(mktemp)
# In a session of its own: Ctrl-C is for the pipeline, which needs them until it has stopped.
setsid target/quick/snowmelt-standins --kinesis --dynamodb --s3 >"$endpoints" &
standins=$!
trap 'kill "$standins" 2>/dev/null || true; rm -f "$endpoints"' EXIT
until grep -q '"ready":true' "$endpoints"; do
  kill -0 "$standins" 2>/dev/null || missing 'stand-ins of AWS' 'they ended at their start, see above'
  sleep 0.2
done
endpoint() { # service
  sed -nE 's/.*"endpoint":"([^"]*)".*"service":"'"$1"'".*|.*"service":"'"$1"'".*"endpoint":"([^"]*)".*/\1\2/p' "$endpoints"
}
export AWS_ACCESS_KEY_ID=test AWS_SECRET_ACCESS_KEY=test AWS_REGION=us-east-1 AWS_EC2_METADATA_DISABLED=true
at=(--set "aws.kinesis_endpoint=$(endpoint kinesis)" --set "aws.dynamodb_endpoint=$(endpoint dynamodb)" --set "aws.s3_endpoint=$(endpoint s3)")

# What the stand-ins forget from one start to the next, the data directory must not remember.
data=$(mktemp -d -t snowmelt-aws-XXXXXX)
chmod 755 "$data"
trap 'kill "$standins" 2>/dev/null || true; rm -rf "$endpoints" "$data"' EXIT
target/quick/snowmelt setup pipelines/aws.toml "${at[@]}"
echo "starting pipelines/aws.toml; in a second terminal: target/quick/snowmelt send --data-dir $data --events 200"
target/quick/snowmelt run pipelines/aws.toml --data-dir "$data" "${at[@]}" "$@"
