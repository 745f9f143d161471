//! The Postgres loader alone: whatever ends it or its database, each good event is in the tables once, each bad one in the bad
//! stream once, and nothing else is anywhere. `SNOWMELT_KILLS` says how often loaders are killed, `SNOWMELT_ROWS` how many events
//! there are (few by default, so that the tests are quick).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use snowmelt_tests::kinesis::KinesisStream;
use snowmelt_tests::{
    Aws, FailingDisk, Loader, Place, Registry, Server, Warehouse, contexts, enriched, eventually, fill, read_stream,
};
use sqlx::{AssertSqlSafe, Row};

/// One in so many events is bad.
const BAD_EVERY: u64 = 97;
const THING: &str = "iglu:com.acme/thing/jsonschema/1-0-0";
const NEW_THING: &str = "iglu:com.acme/thing/jsonschema/1-0-1";

fn number(variable: &str, default: u64) -> Result<u64> {
    match std::env::var(variable) {
        Ok(text) => text.parse().with_context(|| variable.to_owned()),
        Err(_) => Ok(default),
    }
}

fn event_id(number: u64) -> String {
    format!("00000000-0000-4000-8000-{number:012}")
}

/// What has to come of an event.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// A row of `events` and one of the things.
    Good {
        /// It has what the second version of the schema adds.
        coloured: bool,
    },
    /// A bad row of this kind.
    Bad(&'static str),
}

/// The events with these numbers; those from `coloured_from` on may use the second version of their entity's schema.
fn events(numbers: impl Iterator<Item = u64>, coloured_from: u64) -> Result<Vec<(String, String, Fate)>> {
    numbers
        .map(|number| {
            let id = event_id(number);
            let coloured = number >= coloured_from && number % 3 == 0;
            let thing = match coloured {
                true => (NEW_THING, json!({"size": number, "colour": "green"})),
                false => (THING, json!({"size": number})),
            };
            let (line, fate) = match (number % BAD_EVERY, number / BAD_EVERY % 3) {
                // Found by halving: only the database knows that it is too long.
                (0, 0) => (
                    enriched(&id, &[("contexts", &contexts(&[thing])), ("se_category", &"x".repeat(1010))])?,
                    Fate::Bad("loader_runtime_error"),
                ),
                (0, 1) => {
                    let wrong = (THING, json!({"size": "no number"}));
                    (enriched(&id, &[("contexts", &contexts(&[wrong]))])?, Fate::Bad("loader_iglu_error"))
                }
                (0, _) => (enriched(&id, &[("collector_tstamp", "yesterday")])?, Fate::Bad("loader_parsing_error")),
                _ => {
                    let columns =
                        [("contexts", contexts(&[thing])), ("page_url", format!("https://acme.example/{number}"))];
                    let columns = columns.each_ref().map(|(name, value)| (*name, value.as_str()));
                    (enriched(&id, &columns)?, Fate::Good { coloured })
                }
            };
            Ok((id, line, fate))
        })
        .collect()
}

/// Loaders of one application each, into one database.
struct Rig {
    place: Place,
    registry: Registry,
    server: Server,
}

impl Rig {
    async fn new() -> Result<Self> {
        let place = Place::new().await?;
        let registry = Registry::new(&place)?;
        let size = json!({"type": "integer", "minimum": 0});
        registry.publish("thing", "1-0-0", json!({"type": "object", "properties": {"size": size}}))?;
        Ok(Self { place, registry, server: Server::start().await? })
    }

    /// The second version of the entity's schema.
    fn publish_colours(&self) -> Result<()> {
        let properties =
            json!({"size": {"type": "integer", "minimum": 0}, "colour": {"type": ["string", "null"], "maxLength": 16}});
        self.registry.publish("thing", "1-0-1", json!({"type": "object", "properties": properties}))
    }

    fn data(&self, name: &str) -> PathBuf {
        self.place.path().join(name)
    }

    /// A definition that loads events into the server.
    fn definition(&self, name: &str, sink: &str) -> Result<PathBuf> {
        let file = self.place.path().join(format!("{name}.toml"));
        let resolver = self.registry.resolver();
        let url = self.server.url()?;
        let text = format!(
            "name = {name:?}\n[[stream]]\nname = \"enriched\"\nshards = 2\n[source]\nstream = \"enriched\"\n[[sink]]\n\
             kind = \"postgres\"\npurpose = \"enriched\"\nresolver = {resolver:?}\ndatabase = {url:?}\nmax_records = 2000\n\
             max_age = \"200ms\"\n{sink}\n[bad]\nstream = \"bad-1\"\n"
        );
        std::fs::write(&file, text)?;
        Ok(file)
    }

    async fn start(&self, name: &str) -> Result<Loader> {
        let file = self.place.path().join(format!("{name}.toml"));
        Loader::start(&self.data(name), &[text(&file)?], Vec::new()).await
    }

    /// Kills the server, restarts it, or does nothing to it. How often it did each of the first two.
    async fn trouble_the_server(&mut self, random: &mut fastrand::Rng) -> Result<(u64, u64)> {
        let down = Duration::from_millis(random.u64(0..900));
        match random.u8(..4) {
            0 | 1 => self.server.kill(down).await.map(|()| (1, 0)),
            2 => self.server.restart(down).await.map(|()| (0, 1)),
            _ => Ok((0, 0)),
        }
    }

    async fn warehouse(&self) -> Result<Warehouse> {
        let url = self.server.url()?;
        eventually(Duration::from_secs(20), async || Warehouse::connect(&url).await).await
    }
}

fn text(path: &Path) -> Result<&str> {
    path.to_str().context("a temporary directory has a plain name")
}

async fn counts(warehouse: &Warehouse, sql: &'static str) -> Result<Vec<u64>> {
    let row = sqlx::query(AssertSqlSafe(sql)).fetch_one(&warehouse.pool).await?;
    (0..row.len()).map(|at| Ok(u64::try_from(row.try_get::<i64, _>(at)?)?)).collect()
}

/// Kind and event id of each bad row.
async fn bad_rows(operator_url: &str, stream: &str) -> Result<Vec<(String, String)>> {
    let mut found = Vec::new();
    for record in read_stream(operator_url, stream).await? {
        let row: Value = serde_json::from_slice(&record.data)?;
        let kind = row["schema"].as_str().and_then(|uri| uri.split('/').nth(1)).context("a bad row's kind")?;
        let text = row["data"]["payload"].to_string();
        let at = text.find("00000000-0000-4000-8000-").with_context(|| format!("a bad row of no event: {row}"))?;
        found.push((kind.to_owned(), text[at..at + 36].to_owned()));
    }
    Ok(found)
}

#[tokio::test(flavor = "multi_thread")]
async fn two_loaders_and_their_database_killed_at_random_load_each_event_once() -> Result<()> {
    let (kills, rows) = (number("SNOWMELT_KILLS", 3)?, number("SNOWMELT_ROWS", 6000)?);
    let seed = number("SNOWMELT_KILL_SEED", fastrand::u64(..1_000_000))?;
    println!("SNOWMELT_KILL_SEED={seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let mut rig = Rig::new().await?;
    let names = ["loader-a", "loader-b"];
    for name in names {
        rig.definition(name, "")?;
    }
    // The new version comes when half is loaded.
    let rounds = kills + 1;
    let portion = |round: u64| (rows * round / rounds)..(rows * (round + 1) / rounds);
    let new_round = rounds / 2;
    let coloured_from = portion(new_round).start;
    let mut wanted: BTreeMap<String, Fate> = BTreeMap::new();
    let began = Instant::now();
    let (mut restarts, mut server_kills, mut killed) = (0, 0, 0);
    for round in 0..rounds {
        if round == new_round {
            rig.publish_colours()?;
        }
        for (name, offset) in names.into_iter().zip(0..) {
            let numbers = portion(round).filter(|number| number % 2 == offset);
            let events = events(numbers, coloured_from)?;
            wanted.extend(events.iter().map(|(id, _, fate)| (id.clone(), *fate)));
            let records = events.into_iter().map(|(id, line, _)| (id, line)).collect();
            fill(&rig.data(name), "enriched", 2, records).await?;
        }
        let mut running = Vec::new();
        for name in names {
            running.push(rig.start(name).await?);
        }
        if round == rounds - 1 {
            finish(&rig, &wanted, running, coloured_from < rows, Bad::OfEach).await?;
            break;
        }
        tokio::time::sleep(Duration::from_millis(random.u64(20..1000))).await;
        let (killed_server, restarted) = rig.trouble_the_server(&mut random).await?;
        server_kills += killed_server;
        restarts += restarted;
        tokio::time::sleep(Duration::from_millis(random.u64(0..900))).await;
        for loader in running {
            if random.u8(..4) == 0 {
                loader.stop().await?;
            } else {
                loader.kill().await?;
                killed += 1;
            }
        }
    }
    println!(
        "{rows} events, {rounds} rounds: loaders killed {killed} times, PostgreSQL killed {server_kills} times and restarted \
         {restarts} times, in {:?}",
        began.elapsed()
    );
    Ok(())
}

/// Where bad rows are.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Bad {
    /// Each loader has a stream of its own, with each row once.
    OfEach,
    /// All write to one stream, in which a row may be again after a kill.
    OfAll,
}

impl Bad {
    async fn rows(self, running: &[Loader]) -> Result<Vec<(String, String)>> {
        let mut rows = Vec::new();
        let read = if self == Self::OfAll { &running[..1] } else { running };
        for loader in read {
            rows.extend(bad_rows(loader.operator_url(), "bad-1").await?);
        }
        rows.sort_unstable();
        if self == Self::OfAll {
            rows.dedup();
        }
        Ok(rows)
    }
}

/// Where streams are Kinesis's, workers of one application share its shards: what one leaves, in whatever way, the other goes on
/// with.
#[tokio::test(flavor = "multi_thread")]
async fn two_loaders_of_one_application_share_the_shards_of_kinesis_and_load_each_event_once() -> Result<()> {
    let (kills, rows) = (number("SNOWMELT_KILLS", 3)?, number("SNOWMELT_AWS_ROWS", 2000)?);
    let seed = number("SNOWMELT_KILL_SEED", fastrand::u64(..1_000_000))?;
    println!("SNOWMELT_KILL_SEED={seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let Some(aws) = Aws::start().await? else { return Ok(()) };
    let mut rig = Rig::new().await?;
    let file = rig.definition("shared", "")?;
    let stream = KinesisStream::create(&aws.standins, "enriched", 4).await?;
    aws.setup(text(&file)?, &["--set", "backend.kind=aws"]).await?;
    let mut arguments = vec![text(&file)?.to_owned(), "--set".to_owned(), "backend.kind=aws".to_owned()];
    arguments.extend(aws.arguments()?);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();

    let rounds = kills + 1;
    let portion = |round: u64| (rows * round / rounds)..(rows * (round + 1) / rounds);
    let coloured_from = portion(rounds / 2).start;
    let mut wanted: BTreeMap<String, Fate> = BTreeMap::new();
    let mut running: Vec<Option<Loader>> = vec![None, None];
    let mut killed = 0;
    for round in 0..rounds {
        if round == rounds / 2 {
            rig.publish_colours()?;
        }
        let events = events(portion(round), coloured_from)?;
        wanted.extend(events.iter().map(|(id, _, fate)| (id.clone(), *fate)));
        let records: Vec<(String, String)> = events.into_iter().map(|(id, line, _)| (id, line)).collect();
        for (worker, slot) in running.iter_mut().enumerate() {
            if slot.is_none() {
                let data = rig.data(&format!("worker-{worker}"));
                std::fs::create_dir_all(&data)?;
                *slot = Some(Loader::start(&data, &arguments, Aws::environment()).await?);
            }
        }
        for some in records.chunks(250) {
            stream.put(some).await?;
        }
        if round == rounds - 1 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(random.u64(200..2500))).await;
        rig.trouble_the_server(&mut random).await?;
        // One of them, at times both.
        for slot in &mut running {
            match (random.u8(..4), slot.take()) {
                (0, Some(loader)) => loader.stop().await?,
                (1 | 2, Some(loader)) => {
                    loader.kill().await?;
                    killed += 1;
                }
                (_, kept) => *slot = kept,
            }
        }
    }
    println!("{rows} events, {rounds} rounds: loaders killed {killed} times");
    let running = running.into_iter().flatten().collect();
    finish(&rig, &wanted, running, coloured_from < rows, Bad::OfAll).await.with_context(|| format!("seed {seed}"))
}

/// Waits until all is loaded, stops the loaders and compares.
async fn finish(
    rig: &Rig,
    wanted: &BTreeMap<String, Fate>,
    running: Vec<Loader>,
    migrated: bool,
    bad_rows: Bad,
) -> Result<()> {
    let good = wanted.values().filter(|fate| matches!(fate, Fate::Good { .. })).count() as u64;
    let coloured = wanted.values().filter(|fate| matches!(fate, Fate::Good { coloured: true })).count() as u64;
    let bad = wanted.len() as u64 - good;
    let warehouse = rig.warehouse().await?;
    let patience = Duration::from_secs(60) + Duration::from_millis(wanted.len() as u64);
    let logs = || running.iter().map(Loader::log_tail).collect::<Vec<_>>().join("\n");
    eventually(patience, async || {
        let found = counts(&warehouse, "SELECT count(*) FROM atomic.events").await?[0];
        let rows = bad_rows.rows(&running).await?.len() as u64;
        ensure!(found >= good && rows >= bad, "{found} of {good} rows, {rows} of {bad} bad rows");
        Ok(())
    })
    .await
    .with_context(logs)?;
    // Long enough for one too many.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let found_bad = bad_rows.rows(&running).await?;
    for loader in running {
        loader.stop().await?;
    }
    let events = counts(&warehouse, "SELECT count(*), count(DISTINCT event_id) FROM atomic.events").await?;
    ensure!(events == [good, good], "rows and ids of events: {events:?}, wanted {good}");
    let things =
        "SELECT count(*), count(DISTINCT root_id), sum((schema_version = '1-0-1')::int) FROM atomic.com_acme_thing_1";
    let things = counts(&warehouse, things).await?;
    ensure!(things == [good, good, coloured], "things: {things:?}, wanted {good} and {coloured} of the new version");
    if migrated {
        let colours = counts(&warehouse, "SELECT count(colour) FROM atomic.com_acme_thing_1").await?;
        ensure!(colours == [coloured], "colours: {colours:?}, wanted {coloured}");
    }
    let mut wanted_bad: Vec<(String, String)> = wanted
        .iter()
        .filter_map(|(id, fate)| match fate {
            Fate::Bad(kind) => Some(((*kind).to_owned(), id.clone())),
            Fate::Good { .. } => None,
        })
        .collect();
    wanted_bad.sort_unstable();
    let first = found_bad.iter().zip(&wanted_bad).find(|(found, wanted)| found != wanted);
    ensure!(found_bad == wanted_bad, "{} bad rows, wanted {}; {first:?}", found_bad.len(), wanted_bad.len());
    println!("{good} rows of events, each once; {coloured} of the new version; {bad} bad rows, each once");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_bad_stream_is_down_nothing_is_dropped_and_afterwards_all_is_there() -> Result<()> {
    let rig = Rig::new().await?;
    let definition = rig.definition("loader", "")?;
    let disk = FailingDisk::new(rig.place.path(), "/streams/bad-1/")?;
    let all = events(0..500, u64::MAX)?;
    let wanted: BTreeMap<String, Fate> = all.iter().map(|(id, _, fate)| (id.clone(), *fate)).collect();
    let records = all.into_iter().map(|(id, line, _)| (id, line)).collect();
    fill(&rig.data("loader"), "enriched", 2, records).await?;
    let loader = Loader::start(&rig.data("loader"), &[text(&definition)?], disk.environment()).await?;
    // So that the stream is there when it fails.
    eventually(Duration::from_secs(20), async || {
        let bad = bad_rows(loader.operator_url(), "bad-1").await?;
        ensure!(bad.len() == 6, "{} bad rows", bad.len());
        Ok(())
    })
    .await
    .with_context(|| loader.log_tail())?;
    loader.stop().await?;

    let later = events(500..1000, u64::MAX)?;
    let good: Vec<&str> =
        later.iter().filter(|(_, _, fate)| matches!(fate, Fate::Good { .. })).map(|(id, ..)| id.as_str()).collect();
    let some = good.len() as u64;
    let mut wanted = wanted;
    wanted.extend(later.iter().map(|(id, _, fate)| (id.clone(), *fate)));
    let records = later.into_iter().map(|(id, line, _)| (id, line)).collect();
    fill(&rig.data("loader"), "enriched", 2, records).await?;
    disk.fail()?;
    let loader = Loader::start(&rig.data("loader"), &[text(&definition)?], disk.environment()).await?;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let warehouse = rig.warehouse().await?;
    let before = counts(&warehouse, "SELECT count(*) FROM atomic.events").await?[0];
    // What is good and in one batch with what is bad waits with it.
    ensure!(before < 494 + some, "all {before} rows are there, though their bad rows are nowhere");
    disk.heal()?;
    finish(&rig, &wanted, vec![loader], false, Bad::OfEach).await
}

#[tokio::test(flavor = "multi_thread")]
async fn where_it_is_asked_for_an_event_id_is_loaded_once_within_the_window() -> Result<()> {
    let rig = Rig::new().await?;
    let definition = rig.definition("loader", "deduplicate = \"1h\"\nschema = \"once\"\nconnections = 3")?;
    // Each good event three times, in both shards.
    let mut records = Vec::new();
    for round in 0..3 {
        let good = events(1..90, u64::MAX)?;
        records.extend(good.into_iter().map(|(id, line, _)| (format!("{round} {id}"), line)));
    }
    fill(&rig.data("loader"), "enriched", 2, records).await?;
    let loader = Loader::start(&rig.data("loader"), &[text(&definition)?], Vec::new()).await?;
    let warehouse = rig.warehouse().await?;
    let url = format!("{}/metrics", loader.operator_url());
    eventually(Duration::from_secs(20), async || {
        let metrics = reqwest::get(&url).await?.text().await?;
        let of = |name: &str| -> f64 {
            let lines = metrics.lines().filter(|line| line.starts_with(name));
            lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
        };
        let counted = (of("snowmelt_postgres_records_total"), of("snowmelt_postgres_duplicates_total"));
        ensure!(counted == (89.0, 178.0), "{counted:?}");
        Ok(())
    })
    .await
    .with_context(|| loader.log_tail())?;
    let rows =
        "SELECT count(*), count(DISTINCT event_id), (SELECT count(*) FROM once.com_acme_thing_1) FROM once.events";
    ensure!(counts(&warehouse, rows).await? == [89, 89, 89]);
    loader.stop().await
}

/// As the quick start of the original writes it.
const ORIGINAL: &str = r#"
input {
  type = "Kinesis"
  appName = "acme-postgres-loader"
  streamName = "acme-enriched"
  region = "eu-west-1"
  initialPosition = "TRIM_HORIZON"
  retrievalMode = { type = "Polling", maxRecords = 500 }
  checkpointSettings { maxBatchSize = 1000, maxBatchWait = 1 second }
}
output {
  good {
    type = "Postgres"
    host = "127.0.0.1"
    port = ${DB_PORT}
    database = "snowmelt"
    username = "snowmelt"
    password = ${DB_PASSWORD}
    schema = "acme"
    sslMode = "PREFER"
    maxConnections = 3
  }
}
purpose = "ENRICHED_EVENTS"
monitoring { metrics { cloudWatch = false } }
"#;

#[tokio::test(flavor = "multi_thread")]
async fn the_originals_loader_runs_on_its_own_files() -> Result<()> {
    let rig = Rig::new().await?;
    let hocon = rig.place.path().join("loader.hocon");
    std::fs::write(&hocon, ORIGINAL)?;
    let all = events(0..300, u64::MAX)?;
    let records = all.into_iter().map(|(id, line, _)| (id, line)).collect();
    let data = rig.data("original");
    fill(&data, "acme-enriched", 2, records).await?;
    let url: sqlx::postgres::PgConnectOptions = rig.server.url()?.parse()?;
    let password = rig.server.url()?;
    let password = password.split([':', '@']).nth(2).context("the database's password")?;
    let environment = vec![("DB_PORT", url.get_port().to_string().into()), ("DB_PASSWORD", password.into())];
    let resolver = rig.registry.resolver();
    let arguments = ["--postgres-config", text(&hocon)?, "--resolver", text(&resolver)?];
    let loader = Loader::start(&data, &arguments, environment).await?;
    let warehouse = rig.warehouse().await?;
    eventually(Duration::from_secs(20), async || {
        let rows = counts(&warehouse, "SELECT count(*) FROM acme.events").await?;
        // Of 300 events the first and three more are bad.
        let bad = bad_rows(loader.operator_url(), "bad-1").await?.len();
        ensure!((rows[0], bad) == (296, 4), "{rows:?} rows, {bad} bad ones");
        Ok(())
    })
    .await
    .with_context(|| loader.log_tail())?;
    let told = loader.log_tail();
    for note in ["output.bad: bad rows are not thrown away", "input.region: streams are chosen"] {
        ensure!(told.contains(note), "nothing about {note}: {told}");
    }
    ensure!(!told.contains(password), "the log has the password");
    let progress = "SELECT count(*) FROM snowmelt.progress WHERE application = 'acme-postgres-loader'";
    ensure!(counts(&warehouse, progress).await? == [2]);
    loader.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_bad_loader_cannot_load_goes_to_bad_2() -> Result<()> {
    let rig = Rig::new().await?;
    let (resolver, url) = (rig.registry.resolver(), rig.server.url()?);
    let file = rig.place.path().join("bad.toml");
    let text_of_file = format!(
        "name = \"postgres-bad\"\n[source]\nstream = \"bad-1\"\n[[sink]]\nkind = \"postgres\"\npurpose = \"bad\"\n\
         resolver = {resolver:?}\ndatabase = {url:?}\nschema = \"bad_rows\"\nmax_age = \"100ms\"\n[bad]\nstream = \"bad-2\"\n"
    );
    std::fs::write(&file, text_of_file)?;
    let good = json!({
        "schema": "iglu:com.snowplowanalytics.snowplow.badrows/loader_parsing_error/jsonschema/2-0-0",
        "data": {
            "processor": {"artifact": "test", "version": "1"}, "failure": {"type": "NotTSV"}, "payload": "x".repeat(5000)
        },
    });
    let records = [
        good.to_string(),
        "no JSON".to_owned(),
        json!({"schema": "iglu:com.none/such/jsonschema/1-0-0", "data": {}}).to_string(),
    ];
    let records = records.into_iter().map(|line| ("key".to_owned(), line)).collect();
    let data = rig.data("bad");
    fill(&data, "bad-1", 1, records).await?;
    let loader = Loader::start(&data, &[text(&file)?], Vec::new()).await?;
    let rows = eventually(Duration::from_secs(20), async || {
        let rows = read_stream(loader.operator_url(), "bad-2").await?;
        ensure!(
            rows.len() == 2,
            "{} rows in bad-2: {}",
            rows.len(),
            rows.iter().map(|row| String::from_utf8_lossy(&row.data)).collect::<String>()
        );
        Ok(rows)
    })
    .await
    .with_context(|| loader.log_tail())?;
    for (row, says) in rows.iter().zip(["ParsingFailure: ", "ResolutionError"]) {
        let row: Value = serde_json::from_slice(&row.data)?;
        ensure!(row["schema"] == "iglu:com.snowplowanalytics.snowplow.badrows/generic_error/jsonschema/1-0-0", "{row}");
        ensure!(row["data"]["failure"]["errors"].to_string().contains(says), "{row}");
    }
    let warehouse = rig.warehouse().await?;
    let sql = "SELECT count(*) FROM bad_rows.com_snowplowanalytics_snowplow_badrows_loader_parsing_error_2";
    ensure!(counts(&warehouse, sql).await? == [1]);
    loader.stop().await
}
