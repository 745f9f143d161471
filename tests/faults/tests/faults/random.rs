//! Schedules drawn from seeds.

use std::time::Instant;

use snowmelt_faults::{Schedule, all};

/// How many schedules one run plays.
const SCHEDULES: u64 = 200;

/// `SNOWMELT_FAULT_SEED` plays one schedule; `SNOWMELT_FAULT_FIRST` begins at another seed than 1.
#[test]
fn two_hundred_schedules_of_random_faults_lose_and_repeat_nothing() {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().expect("a seed is a number"));
    let seeds: Vec<u64> = match number("SNOWMELT_FAULT_SEED") {
        Some(seed) => {
            println!("{:#?}", Schedule::drawn(seed));
            vec![seed]
        }
        None => {
            let first = number("SNOWMELT_FAULT_FIRST").unwrap_or(1);
            (first..first + SCHEDULES).collect()
        }
    };
    println!("seeds {} to {}; one again with SNOWMELT_FAULT_SEED", seeds[0], seeds[seeds.len() - 1]);
    let began = Instant::now();
    let failed = all(
        &seeds,
        |seed| format!("SNOWMELT_FAULT_SEED={seed}"),
        |seed| {
            let verdict = Schedule::drawn(seed).run()?;
            println!("seed {seed}: {verdict:?}");
            Ok(())
        },
    );
    println!("{} schedules in {:?}", seeds.len(), began.elapsed());
    assert!(failed.is_empty(), "{} of {} schedules failed:\n{}", failed.len(), seeds.len(), failed.join("\n"));
}
