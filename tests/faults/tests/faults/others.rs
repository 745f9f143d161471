//! While one shard's group is down the others go on.

use std::time::Duration;

use snowmelt_faults::event::Who;
use snowmelt_faults::plan::shard_number;
use snowmelt_faults::world::Rules;
use snowmelt_faults::{Faults, Strike, Weather, World, on_own_system, proof};
use snowmelt_runtime::fault::{Fault, Moment, Turn};
use snowmelt_runtime::supervise::RestartPolicy;
use snowmelt_supervisor::GroupState;

#[test]
fn a_shard_that_waits_to_start_again_holds_nobody_up() {
    on_own_system(async || {
        let always = Strike {
            app: "enrich",
            shard: Some(0),
            actor: "enricher",
            turn: Turn::Message,
            moment: Moment::Before,
            nth: 1,
            times: 1,
            fault: Fault::Panic,
        };
        // One failure is followed by a wait that outlasts the test, unless the draw is tiny.
        let long = Duration::from_secs(100_000);
        let policy = RestartPolicy { base: long, cap: long, ..RestartPolicy::default() };
        let rules = Rules { policy, ..Rules::default() };
        let world = World::new(rules, Faults::new(vec![always]), Weather::default()).await.unwrap();
        world.send(80, 10).await.unwrap();
        let life = world.live().await.unwrap();
        let down = || {
            life.groups().iter().any(|group| {
                group.id.pipeline.starts_with("enrich")
                    && shard_number(&group.id.shard) == Some(0)
                    && matches!(group.state, GroupState::BackingOff { .. })
            })
        };
        life.until(Duration::from_secs(20), async || Ok(down())).await.unwrap();

        // Everything sent from now on to the other shard arrives while this one is down.
        world.send(800, 10).await.unwrap();
        let raw = proof::records(&world, "raw").await.unwrap();
        let mine = raw[1].len() as u64;
        assert!(mine > 100, "the keys spread over both shards");
        life.until(Duration::from_secs(20), async || Ok(proof::rows(&world.tables).await? >= mine)).await.unwrap();
        assert!(down(), "it is down all the while");
        let enriched = proof::records(&world, "enriched").await.unwrap();
        let keys = |n: u32| format!("key-{n}");
        let others: std::collections::BTreeSet<String> =
            raw[1].iter().map(|record| record.partition_key.clone()).collect();
        for who in enriched.iter().flatten().filter_map(|record| Who::of_line(&record.data)) {
            assert!(others.contains(&keys(who.key)), "only the other shard's events arrive");
        }
        for group in life.groups() {
            let hit = group.id.pipeline.starts_with("enrich") && shard_number(&group.id.shard) == Some(0);
            assert_eq!(group.restarts, u64::from(hit), "{}", group.id);
        }
        life.drain().await.unwrap();
        world.warehouse.close().await;
        world.tables.close().await;
    });
}
