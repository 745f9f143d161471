//! Records that kill their group: found, sent to the bad stream, passed.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use snowmelt_faults::event::Who;
use snowmelt_faults::world::Rules;
use snowmelt_faults::{Faults, Weather, World, on_own_system, proof};

/// Plays `count` events of which those in `poison` panic in the enricher, and looks at what comes out.
fn play(count: u32, page: usize, poison: &[u32], within: Duration) {
    let ids: Vec<String> = poison.iter().map(|n| Who::nth(*n).id()).collect();
    let poison = poison.to_vec();
    on_own_system(async move || {
        let probe = {
            let ids = ids.clone();
            Arc::new(move |record: &snowmelt_streams::Record| {
                let text = String::from_utf8_lossy(&record.data);
                if let Some(id) = ids.iter().find(|id| text.contains(id.as_str())) {
                    panic!("poison {id}");
                }
            })
        };
        let defaults = Rules::default();
        let rules = Rules {
            page,
            batch: page,
            mailbox_bytes: 8 << 20,
            heartbeat: Duration::from_secs(30),
            call_timeout: Duration::from_secs(60),
            probe: Some(probe),
            policy: snowmelt_runtime::supervise::RestartPolicy { max_restarts: 10, ..defaults.policy },
        };
        let world = World::new(rules, Faults::default(), Weather::default()).await.unwrap();
        world.send(count, 10).await.unwrap();
        let began = Instant::now();
        let life = world.live().await.unwrap();
        let good = u64::from(count) - poison.len() as u64;
        life.until(within, async || {
            let bad: usize = proof::records(&world, "bad-1").await?.iter().map(Vec::len).sum();
            Ok(proof::rows(&world.tables).await? >= good && bad >= poison.len())
        })
        .await
        .unwrap();
        let took = began.elapsed();
        let groups = life.drain().await.unwrap();
        let restarts: u64 = groups.iter().map(|group| group.restarts).sum();
        println!("{count} events, {} poison: {took:?}, {restarts} restarts", poison.len());

        let enriched = proof::records(&world, "enriched").await.unwrap();
        let seen: Vec<Who> = enriched.iter().flatten().filter_map(|record| Who::of_line(&record.data)).collect();
        let expected: BTreeSet<Who> = (0..count).filter(|n| !poison.contains(n)).map(Who::nth).collect();
        assert_eq!(seen.len() as u64, good, "each good event is enriched once");
        assert_eq!(seen.into_iter().collect::<BTreeSet<_>>(), expected);
        assert_eq!(proof::rows(&world.tables).await.unwrap(), good);

        let bad = proof::records(&world, "bad-1").await.unwrap();
        let rows: Vec<serde_json::Value> =
            bad.iter().flatten().map(|record| serde_json::from_slice(&record.data).unwrap()).collect();
        assert_eq!(rows.len(), poison.len());
        let mut found = BTreeSet::new();
        for row in rows {
            let schema = "iglu:com.snowplowanalytics.snowplow.badrows/generic_error/jsonschema/1-0-0";
            assert_eq!(row["schema"], schema);
            let reason = row["data"]["failure"]["errors"][0].as_str().unwrap().to_owned();
            let payload = BASE64.decode(row["data"]["payload"].as_str().unwrap()).unwrap();
            let payload = String::from_utf8_lossy(&payload).into_owned();
            let id = ids.iter().find(|id| payload.contains(id.as_str())).expect("the payload is the poison record");
            assert!(reason.contains(&format!("panic: poison {id}")), "{reason}");
            found.insert(id.clone());
        }
        assert_eq!(found.len(), poison.len());
        // Two deaths to suspect, one for each halving, two alone; those of several records look like one after another.
        let most = poison.len() as u64 * (4 + u64::from(page.ilog2()) + 1);
        assert!((4..=most).contains(&restarts), "{restarts} restarts, at most {most} are to be expected");
        for group in &groups {
            if !group.id.pipeline.starts_with("enrich") {
                assert_eq!(group.restarts, 0, "{} has no poison", group.id);
            }
        }
        world.warehouse.close().await;
        world.tables.close().await;
    });
}

#[test]
fn one_record_that_panics_the_enricher_among_a_hundred_thousand() {
    play(100_001, 1000, &[54_321], Duration::from_secs(300));
}

#[test]
fn neighbours_the_first_record_and_the_last_one() {
    // Keys take turns over the shards: these hit both, twice in a row.
    play(600, 50, &[0, 8, 16, 300, 599], Duration::from_secs(60));
}
