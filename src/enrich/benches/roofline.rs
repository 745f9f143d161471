//! How close enrichment comes to the sum of its steps, each measured alone by the fastest crate for it, on the same events,
//! in the same run: `cargo bench -p snowmelt-enrich --bench roofline`.
//!
//! Rounds of all steps and of the whole alternate, and of each slice of the events the fastest round counts: a slice is
//! shorter than what the scheduler gives at once, so a noisy machine disturbs little, least of all the ratio. With `-- --events N` only the whole is run, N events, for callgrind
//! (`valgrind --tool=callgrind --toggle-collect='*enrich_events*'`).

mod input;
mod steps;

use std::ops::Range;
use std::time::{Duration, Instant};

use snowmelt_enrich::enrichments::{ConfigDocument, Enrichments};
use snowmelt_enrich::{Batch, Context, Enrich, RecordSeed, Scratch};
use snowmelt_iglu::Resolver;

/// As the program has it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Different events; the browsers of one site's visitors are among them over and over.
const EVENTS: usize = 1_000;
/// Events of one slice; between two of them outputs are taken away, as with a batch.
const SLICE: usize = 50;
/// Rounds over all events, unless `--rounds N` says otherwise.
const ROUNDS: usize = 60;

fn main() {
    let records = input::page_views(EVENTS);
    let Some((documents, assets)) = input::documents() else { return };
    let with = |documents: &[ConfigDocument]| {
        input::enrich(Enrichments::build(documents, &assets).expect("the documents are right"))
    };
    let (enrich, bare) = (with(&documents), with(&[]));
    let resolver = input::resolver(&records, &enrich);
    if let Some(events) = argument("--events") {
        let enrich = if argument("--enrichments") == Some(0) { &bare } else { &enrich };
        let mut machine = Machine::new(enrich, &resolver);
        // Once before, so that what is counted is what a warm pipeline does.
        let all = records.iter().cycle();
        machine.enrich(all.clone().take(EVENTS));
        enrich_events(&mut machine, all.take(events));
        return;
    }
    let mut steps = steps::all(&records, &enrich, &resolver);
    let single: Vec<Enrich> = documents.iter().map(|document| with(std::slice::from_ref(document))).collect();
    // None, each alone, all.
    let all = std::iter::once(&bare).chain(&single).chain([&enrich]);
    let mut runs: Vec<(Machine<'_>, Best)> =
        all.map(|enrich| (Machine::new(enrich, &resolver), Best::default())).collect();
    for _ in 0..argument("--rounds").unwrap_or(ROUNDS) {
        for step in &mut steps {
            step.best.round(&mut step.run);
        }
        for (machine, best) in &mut runs {
            best.round(|slice| enrich_events(machine, records[slice].iter()));
        }
    }
    let bytes: usize = records.iter().map(Vec::len).sum();
    println!("page views with three entities, {EVENTS} different ones of {} bytes on average\n", bytes / EVENTS);
    println!("steps, each alone:");
    let sum = print_steps(&steps);
    let micros: Vec<f64> = runs.iter().map(|(_, best)| best.micros()).collect();
    println!("\nwhat each enrichment adds here:");
    for (document, micros_with) in documents.iter().zip(&micros[1..]) {
        line(document.schema.name(), "", micros_with - micros[0]);
    }
    let (none, all) = (micros[0], micros[micros.len() - 1]);
    println!("\nwhole events:");
    line("no enrichments", "", none);
    line("six enrichments", "", all);
    line("roofline: the sum of the steps", "", sum);
    println!(
        "\nratio {:.2}; events per CPU-second: {:.0} with six enrichments, {:.0} with none, {:.0} at the roofline",
        all / sum,
        1e6 / all,
        1e6 / none,
        1e6 / sum,
    );
}

/// Prints every step and gives the sum of those that count: of the ways to do one step the fastest.
fn print_steps(steps: &[steps::Step<'_>]) -> f64 {
    let mut sum = 0.0;
    for step in steps {
        let micros = step.best.micros();
        let is_beaten = steps.iter().any(|rival| rival.name == step.name && rival.best.micros() < micros);
        sum += if is_beaten { 0.0 } else { micros };
        line(step.name, &format!("{}{}", step.by, if is_beaten { " (not counted)" } else { "" }), micros);
    }
    sum
}

fn line(what: &str, by: &str, micros: f64) {
    println!("  {what:<32}{by:<36}{micros:>8.3} µs");
}

/// A number that follows an option of the command line.
fn argument(name: &str) -> Option<usize> {
    let mut arguments = std::env::args().skip_while(|argument| argument != name);
    arguments.nth(1)?.parse().ok()
}

/// The fastest round of each slice.
pub struct Best([Duration; EVENTS / SLICE]);

impl Default for Best {
    fn default() -> Self {
        Best([Duration::MAX; EVENTS / SLICE])
    }
}

impl Best {
    fn round(&mut self, mut work: impl FnMut(Range<usize>)) {
        for (nth, best) in self.0.iter_mut().enumerate() {
            // Once before: what a step needs is where the step before left it, in the core's caches.
            work(nth * SLICE..(nth + 1) * SLICE);
            let start = Instant::now();
            work(nth * SLICE..(nth + 1) * SLICE);
            *best = start.elapsed().min(*best);
        }
    }

    /// Of one event.
    fn micros(&self) -> f64 {
        self.0.iter().sum::<Duration>().as_secs_f64() * 1e6 / EVENTS as f64
    }
}

/// What a thread of the pipeline has.
struct Machine<'m> {
    enrich: &'m Enrich,
    resolver: &'m Resolver,
    scratch: Scratch,
    count: u64,
}

impl<'m> Machine<'m> {
    fn new(enrich: &'m Enrich, resolver: &'m Resolver) -> Self {
        Machine { enrich, resolver, scratch: Scratch::new(), count: 0 }
    }

    fn enrich<'r>(&mut self, records: impl Iterator<Item = &'r Vec<u8>>) {
        let mut batch = Batch::new(self.enrich, &mut self.scratch);
        for record in records {
            self.count += 1;
            let cx = Context {
                now_micros: input::NOW_MICROS,
                schemas: self.resolver,
                seed: RecordSeed::new("raw", &self.count.to_be_bytes()),
            };
            batch.record(record, &cx).expect("all schemas are in memory");
        }
        std::hint::black_box(batch.finish());
    }
}

/// A function of its own, so that callgrind can tell it from what prepares it.
#[inline(never)]
fn enrich_events<'r>(machine: &mut Machine<'_>, records: impl Iterator<Item = &'r Vec<u8>>) {
    machine.enrich(records);
}
