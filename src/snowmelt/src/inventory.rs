//! What a plan uses of AWS: streams, lease tables, buckets, queues, and the permissions that each needs.
//!
//! `check` tells it, `check --iam` prints it as a policy, `setup` makes what is missing.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::definition::Plan;
use crate::definition::model::{Aws, ObjectPlace, Objects, Reading, Target, Work};
use crate::run::settings;

/// Tables that a fleet of KCL 3 keeps beside the lease table: read, never written, to see whether one runs.
const TABLES_OF_KCL3: [&str; 2] = ["CoordinatorState", "WorkerMetricStats"];

const READ_BY_POLLING: [&str; 4] =
    ["kinesis:DescribeStreamSummary", "kinesis:ListShards", "kinesis:GetShardIterator", "kinesis:GetRecords"];
const READ_BY_FAN_OUT: [&str; 2] = ["kinesis:RegisterStreamConsumer", "kinesis:DescribeStreamConsumer"];
const OF_CONSUMER: [&str; 2] = ["kinesis:SubscribeToShard", "kinesis:DescribeStreamConsumer"];
const WRITE: [&str; 2] = ["kinesis:DescribeStreamSummary", "kinesis:PutRecords"];
const LEASES: [&str; 7] = [
    "dynamodb:DescribeTable",
    "dynamodb:CreateTable",
    "dynamodb:Scan",
    "dynamodb:GetItem",
    "dynamodb:PutItem",
    "dynamodb:UpdateItem",
    "dynamodb:DeleteItem",
];
const LOOK: [&str; 3] = ["dynamodb:DescribeTable", "dynamodb:Scan", "dynamodb:GetItem"];
const OBJECTS: [&str; 2] = ["s3:PutObject", "s3:AbortMultipartUpload"];
const QUEUES: [&str; 2] = ["sqs:SendMessage", "sqs:GetQueueUrl"];
/// What `setup` needs beyond what `run` does.
const SETUP_STREAM: [&str; 4] = [
    "kinesis:CreateStream",
    "kinesis:DescribeStreamSummary",
    "kinesis:IncreaseStreamRetentionPeriod",
    "kinesis:DecreaseStreamRetentionPeriod",
];
const SETUP_BUCKET: [&str; 2] = ["s3:CreateBucket", "s3:ListBucket"];

/// What something is named by, in a policy.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Resource {
    /// A stream.
    Stream(String),
    /// A stream's fan-out consumer.
    Consumer {
        /// The stream.
        stream: String,
        /// The application.
        consumer: String,
    },
    /// A table of DynamoDB.
    Table(String),
    /// A bucket.
    Bucket(String),
    /// The objects in a bucket.
    Objects(String),
    /// A queue of SQS.
    Queue(String),
}

impl Resource {
    /// Its name in a policy, in any region and account.
    pub fn arn(&self) -> String {
        match self {
            Self::Stream(name) => format!("arn:aws:kinesis:*:*:stream/{name}"),
            Self::Consumer { stream, consumer } => format!("arn:aws:kinesis:*:*:stream/{stream}/consumer/{consumer}:*"),
            Self::Table(name) => format!("arn:aws:dynamodb:*:*:table/{name}"),
            Self::Bucket(name) => format!("arn:aws:s3:::{name}"),
            Self::Objects(bucket) => format!("arn:aws:s3:::{bucket}/*"),
            Self::Queue(name) => format!("arn:aws:sqs:*:*:{name}"),
        }
    }
}

/// A bucket that a sink writes to, and how it is reached.
#[derive(Debug, Clone)]
pub struct Bucket {
    /// Its name.
    pub name: String,
    /// How it is reached.
    pub options: snowmelt_objects::s3::S3Options,
}

/// Streams with shards and whether the plan reads and writes them, tables, buckets.
#[derive(Debug, Default)]
pub struct Inventory {
    /// Names and shards, when streams are AWS's.
    pub streams: Vec<(String, u32)>,
    /// Lease tables, when leases are AWS's.
    pub tables: Vec<String>,
    /// Buckets of S3, each once.
    pub buckets: Vec<Bucket>,
    allowed: BTreeMap<Resource, Vec<&'static str>>,
}

impl Inventory {
    /// What the plan uses; nothing when it uses nothing of AWS.
    pub fn of(plan: &Plan) -> Self {
        let mut inventory = Self::default();
        if let Some(aws) = &plan.backend.aws {
            inventory.streams.clone_from(&plan.streams);
            inventory.applications(plan, aws);
        }
        for definition in &plan.definitions {
            match &definition.work {
                Work::Load(load) => load.sinks.iter().for_each(|sink| match &sink.target {
                    Target::S3(objects) => inventory.bucket(objects),
                    Target::Postgres(_) => {}
                }),
                // A configuration that cannot be used is told elsewhere.
                Work::Collect(collect) => {
                    let config = settings::collector(collect).ok();
                    let queues =
                        config.iter().flat_map(|config| config.good_queue().into_iter().chain(config.bad_queue()));
                    queues.for_each(|queue| inventory.allow(Resource::Queue(queue.to_owned()), &QUEUES));
                }
                Work::Enrich(_) | Work::Registry(_) => {}
            }
        }
        inventory
    }

    fn applications(&mut self, plan: &Plan, aws: &Aws) {
        for definition in &plan.definitions {
            for stream in definition.writes() {
                self.allow(Resource::Stream(stream.to_owned()), &WRITE);
            }
            let Some(source) = definition.source() else { continue };
            let stream = Resource::Stream(source.stream.clone());
            self.allow(stream.clone(), &READ_BY_POLLING);
            if matches!(aws.reading, Reading::FanOut { .. }) {
                self.allow(stream, &READ_BY_FAN_OUT);
                let consumer = Resource::Consumer { stream: source.stream.clone(), consumer: definition.name.clone() };
                self.allow(consumer, &OF_CONSUMER);
            }
            self.tables.push(definition.name.clone());
            self.allow(Resource::Table(definition.name.clone()), &LEASES);
            for suffix in TABLES_OF_KCL3 {
                self.allow(Resource::Table(format!("{}-{suffix}", definition.name)), &LOOK);
            }
        }
    }

    fn bucket(&mut self, objects: &Objects) {
        let ObjectPlace::S3(options) = &objects.place else { return };
        let name = objects.path().split('/').next().unwrap_or_default().to_owned();
        self.allow(Resource::Objects(name.clone()), &OBJECTS);
        if !self.buckets.iter().any(|bucket| bucket.name == name && bucket.options.endpoint == options.endpoint) {
            self.buckets.push(Bucket { name, options: options.clone() });
        }
    }

    fn allow(&mut self, resource: Resource, actions: &[&'static str]) {
        let allowed = self.allowed.entry(resource).or_default();
        for action in actions {
            if !allowed.contains(action) {
                allowed.push(action);
            }
        }
    }

    /// Whether anything of AWS is used.
    pub fn is_empty(&self) -> bool {
        self.allowed.is_empty()
    }

    /// Resources and what `run` does with them, in the order of their kinds.
    pub fn permissions(&self) -> impl Iterator<Item = (&Resource, &[&'static str])> {
        self.allowed.iter().map(|(resource, actions)| (resource, actions.as_slice()))
    }

    /// An IAM policy: what `run` needs, and with `setup` also what `snowmelt setup` needs. Resources with the same actions
    /// stand together.
    pub fn policy(&self, setup: bool) -> Value {
        let mut allowed = self.allowed.clone();
        if setup {
            let mut also = |resource: Resource, actions: &[&'static str]| {
                let known = allowed.entry(resource).or_default();
                known.extend(actions.iter().filter(|action| !known.contains(action)).copied().collect::<Vec<_>>());
            };
            self.streams.iter().for_each(|(name, _)| also(Resource::Stream(name.clone()), &SETUP_STREAM));
            self.buckets.iter().for_each(|bucket| also(Resource::Bucket(bucket.name.clone()), &SETUP_BUCKET));
        }
        let mut statements: BTreeMap<Vec<&str>, Vec<String>> = BTreeMap::new();
        for (resource, mut actions) in allowed {
            actions.sort_unstable();
            statements.entry(actions).or_default().push(resource.arn());
        }
        let statements: Vec<Value> = statements
            .into_iter()
            .map(|(actions, resources)| json!({ "Effect": "Allow", "Action": actions, "Resource": resources }))
            .collect();
        json!({ "Version": "2012-10-17", "Statement": statements })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::definition::{Originals, Overrides, load};

    fn plan(aws: &str) -> Plan {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("l.toml");
        let text = format!(
            "name = \"s3-raw\"\n[backend]\nkind = \"aws\"\n[aws]\nbucket = \"acme\"\n{aws}\n[[stream]]\nname = \"raw\"\nshards = 4\n\
             [source]\nstream = \"raw\"\n[bad]\nstream = \"bad-1\"\n[[sink]]\nkind = \"s3\"\npurpose = \"raw\"\n"
        );
        std::fs::write(&file, text).unwrap();
        load(&[file], &Originals::default(), &Overrides::default()).unwrap()
    }

    #[test]
    fn a_loader_reads_its_stream_writes_bad_rows_and_objects_and_keeps_leases() {
        let inventory = Inventory::of(&plan(""));
        assert_eq!(inventory.streams, [("raw".to_owned(), 4), ("bad-1".to_owned(), 1)]);
        assert_eq!(inventory.tables, ["s3-raw"]);
        assert_eq!(inventory.buckets[0].name, "acme");
        let allowed: BTreeMap<String, Vec<&str>> =
            inventory.permissions().map(|(resource, actions)| (resource.arn(), actions.to_vec())).collect();
        assert_eq!(allowed["arn:aws:kinesis:*:*:stream/raw"], READ_BY_POLLING);
        assert_eq!(allowed["arn:aws:kinesis:*:*:stream/bad-1"], WRITE);
        assert_eq!(allowed["arn:aws:dynamodb:*:*:table/s3-raw"], LEASES);
        assert_eq!(allowed["arn:aws:dynamodb:*:*:table/s3-raw-CoordinatorState"], LOOK);
        assert_eq!(allowed["arn:aws:s3:::acme/*"], OBJECTS);
    }

    #[test]
    fn fan_out_needs_a_consumer_and_setup_more_than_run() {
        let inventory = Inventory::of(&plan("read = \"fan_out\""));
        let run = inventory.policy(false).to_string();
        assert!(run.contains("arn:aws:kinesis:*:*:stream/raw/consumer/s3-raw:*"), "{run}");
        assert!(
            run.contains("kinesis:SubscribeToShard") && !run.contains("CreateStream") && !run.contains("CreateBucket")
        );
        let setup = inventory.policy(true).to_string();
        assert!(setup.contains("kinesis:CreateStream") && setup.contains("s3:CreateBucket"), "{setup}");
    }
}
