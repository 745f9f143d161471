//! `[aws]`: how streams, leases and objects of AWS are reached, and how workers of one application share shards.

use std::time::Duration;

use super::build::Table;
use super::model::{Aws, LiveFleet, Reading};
use super::problem::Problem;

/// Shortest time after which a worker that says nothing counts as dead: a renewal and two tries of it have to fit.
const LEAST_LEASE: Duration = Duration::from_secs(3);
/// What the service allows between two reads of a shard: five a second, all applications together.
const LEAST_IDLE: Duration = Duration::from_millis(200);

/// The options of a checked section.
pub(super) fn aws(table: &Table<'_>, problems: &mut Vec<Problem>) -> Aws {
    let all = endpoint(table, "endpoint", problems);
    let mut own = |name: &str| endpoint(table, name, problems).or_else(|| all.clone());
    let (kinesis, dynamodb, s3) = (own("kinesis_endpoint"), own("dynamodb_endpoint"), own("s3_endpoint"));
    let at_least = |name: &str, default: Duration, least: Duration, problems: &mut Vec<Problem>| {
        let wanted = table.duration(name, default);
        if wanted < least {
            problems.push(table.problem(name, format!("has to be {} ms or more", least.as_millis())));
        }
        wanted.max(least)
    };
    let lease = at_least("lease_duration", Duration::from_secs(10), LEAST_LEASE, problems);
    let idle = at_least("poll_every", Duration::from_millis(1500), LEAST_IDLE, problems);
    if table.get("poll_every").is_some() && table.text("read").as_deref() == Some("fan_out") {
        problems.push(table.problem("poll_every", "is for read = \"poll\""));
    }
    Aws {
        region: table.text("region"),
        kinesis_endpoint: kinesis,
        dynamodb_endpoint: dynamodb,
        s3_endpoint: s3,
        bucket: table.text("bucket"),
        worker: table.text("worker"),
        lease,
        max_leases: table.get("max_leases").map(|_| table.int("max_leases", usize::MAX)),
        steal_at_once: table.get("steal_at_once").map(|_| table.int("steal_at_once", 1)),
        live_fleet: match table.text("kcl3_fleet").as_deref() {
            Some("share") => LiveFleet::Share,
            _ => LiveFleet::Wait,
        },
        reading: match table.text("read").as_deref() {
            Some("fan_out") => Reading::FanOut { fall_back: table.bool("fan_out_or_poll", true) },
            _ => Reading::Poll { every: idle },
        },
        keep_order: table.bool("keep_order", true),
    }
}

fn endpoint(table: &Table<'_>, name: &str, problems: &mut Vec<Problem>) -> Option<String> {
    let text = table.text(name)?;
    let sound = url::Url::parse(&text).is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    if !sound {
        problems.push(table.problem(name, "has to be http://host:port or https://host"));
    }
    sound.then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::definition::model::{ObjectPlace, Target, Work};
    use crate::definition::{Originals, Overrides, Plan, load};

    fn loaded(aws: &str, sink: &str) -> Result<Plan, Vec<String>> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("l.toml");
        let text = format!(
            "name = \"l\"\n[backend]\nkind = \"aws\"\npostgres = \"postgres://db/x\"\n[aws]\n{aws}\n[source]\nstream = \"s\"\n[bad]\n\
             stream = \"bad-1\"\n[[sink]]\nkind = \"s3\"\npurpose = \"raw\"\n{sink}\n"
        );
        std::fs::write(&file, text).unwrap();
        let plan = load(&[file], &Originals::default(), &Overrides::default());
        plan.map_err(|problems| {
            problems.iter().map(|problem| format!("{}: {}", problem.key, problem.message)).collect()
        })
    }

    fn place_of(plan: &Plan) -> (&ObjectPlace, &str) {
        let Work::Load(load) = &plan.definitions[0].work else { panic!("a loader") };
        let Target::S3(objects) = &load.sinks[0].target else { panic!("objects") };
        (&objects.place, objects.path())
    }

    #[test]
    fn one_endpoint_is_for_all_services_and_one_bucket_for_all_sinks_that_name_none() {
        let plan = loaded(
            "region = \"eu-west-1\"\nendpoint = \"http://127.0.0.1:4566\"\ndynamodb_endpoint = \"http://127.0.0.1:8000\"\n\
             bucket = \"acme\"\nlease_duration = \"20s\"\nmax_leases = 3\nread = \"fan_out\"",
            "prefix = \"raw\"",
        )
        .unwrap();
        let aws = plan.backend.aws.as_ref().unwrap();
        let endpoint = Some("http://127.0.0.1:4566".to_owned());
        assert_eq!((&aws.kinesis_endpoint, &aws.s3_endpoint), (&endpoint, &endpoint));
        assert_eq!(aws.dynamodb_endpoint.as_deref(), Some("http://127.0.0.1:8000"));
        assert_eq!((aws.lease, aws.max_leases), (Duration::from_secs(20), Some(3)));
        assert_eq!(aws.reading, Reading::FanOut { fall_back: true });
        let (place, path) = place_of(&plan);
        let ObjectPlace::S3(options) = place else { panic!("{place:?}") };
        assert_eq!((options.endpoint.as_ref(), options.path_style), (endpoint.as_ref(), true));
        assert_eq!((options.region.as_deref(), path), (Some("eu-west-1"), "acme/raw"));
    }

    #[test]
    fn what_a_fleet_can_not_share_or_the_service_refuses_is_told_by_its_key() {
        for (aws, sink, told) in [
            ("", "prefix = \"raw\"", "sink[0].bucket: is missing"),
            ("endpoint = \"4566\"", "bucket = \"b\"", "aws.endpoint: has to be http"),
            ("lease_duration = \"1s\"", "bucket = \"b\"", "aws.lease_duration: has to be 3000 ms"),
            ("poll_every = \"10ms\"", "bucket = \"b\"", "aws.poll_every: has to be 200 ms"),
            ("poll_every = \"1s\"\nread = \"fan_out\"", "bucket = \"b\"", "aws.poll_every: is for"),
        ] {
            let problems = loaded(aws, sink).unwrap_err();
            assert!(problems.iter().any(|problem| problem.starts_with(told)), "{aws} {sink}: {problems:?}");
        }
    }
}
