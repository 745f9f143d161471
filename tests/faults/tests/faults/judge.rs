//! The judge sees what it is there to see.

use std::time::Duration;

use snowmelt_faults::event::Who;
use snowmelt_faults::world::Rules;
use snowmelt_faults::{Faults, Weather, World, on_own_system, proof};
use snowmelt_streams::{PutEntry, Record};

#[test]
fn lost_repeated_and_late_events_are_seen() {
    on_own_system(async || {
        let world = World::new(Rules::default(), Faults::default(), Weather::default()).await.unwrap();
        world.send(100, 10).await.unwrap();
        let life = world.live().await.unwrap();
        life.until(Duration::from_secs(20), async || proof::complete(&world).await).await.unwrap();
        life.drain().await.unwrap();
        proof::check(&world).await.unwrap();
        let problem = async |world: &World| proof::check(world).await.unwrap_err().to_string();
        let run = async |sql: &str| {
            sqlx::raw_sql(sqlx::AssertSqlSafe(sql.replace("events", &format!("{}.events", world.schema))))
                .execute(world.tables.pool())
                .await
                .unwrap();
        };
        let records = proof::records(&world, "enriched").await.unwrap();
        let row = |record: &Record| {
            let id = Who::of_line(&record.data).unwrap().id();
            format!("ctid = (SELECT max(ctid) FROM events WHERE event_id = '{id}')")
        };
        // A row less, a row twice: the last of its shard, so that it may be stored again in order.
        let one = row(records[0].last().unwrap());
        run(&format!("CREATE TABLE {}.kept AS SELECT * FROM events WHERE {one}", world.schema)).await;
        run(&format!("DELETE FROM events WHERE {one}")).await;
        assert!(problem(&world).await.starts_with("tables: 1 events missing"));
        run(&format!("INSERT INTO events SELECT * FROM {0}.kept UNION ALL SELECT * FROM {0}.kept", world.schema)).await;
        assert!(problem(&world).await.contains("1 repeated"));
        run(&format!("DELETE FROM events WHERE {one}")).await;
        proof::check(&world).await.unwrap();
        // The first row, loaded after all others.
        let one = row(&records[0][0]);
        run(&format!("CREATE TABLE {}.late AS SELECT * FROM events WHERE {one}", world.schema)).await;
        run(&format!("DELETE FROM events WHERE {one}")).await;
        run(&format!("INSERT INTO events SELECT * FROM {}.late", world.schema)).await;
        let late = problem(&world).await;
        assert!(late.starts_with("tables: record 0 of shard ") && late.contains("was loaded after record"), "{late}");
        // A record of the enriched stream again.
        let first = records.iter().flatten().next().unwrap();
        let again = PutEntry::new(first.partition_key.clone(), first.data.clone());
        world.backing.streams.put("enriched", vec![again], None).await.unwrap();
        assert!(problem(&world).await.starts_with("the enriched stream: 0 events missing"));
        world.warehouse.close().await;
        world.tables.close().await;
    });
}
