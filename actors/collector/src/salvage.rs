//! Records that a sink will never take are no reason to hold up the others, nor to lose them.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use snowmelt_protocol::badrow::{GenericError, Processor, base64, trim_to_size};
use snowmelt_streams::Producer;

use crate::{Clock, Outgoing, Refused, Sink, SinkError};

/// The longest `expectation` that the schema of a size violation allows, in characters.
const MAX_EXPECTATION: usize = 256;

/// A sink in front of another that refuses nothing for good: what the other will never take becomes a bad row in the bad sink, or, when
/// that is impossible too, a line of a file ([`SetAside`]). `put` resolves when all of it is as durable as the sinks promise.
///
/// It never answers [`SinkError::Refused`]. While the bad sink cannot take the row now, or the file cannot be written, it answers
/// [`SinkError::Unavailable`]: the batch is tried again, and origins keep what was stored from being stored twice.
pub struct Salvage {
    sink: Arc<dyn Sink>,
    bad: Option<Arc<dyn Sink>>,
    rest: SetAside,
    rules: BadRowRules,
    name: &'static str,
}

/// How bad rows about refused records are made.
#[derive(Clone)]
pub struct BadRowRules {
    /// Who makes them.
    pub processor: Processor,
    /// The longest one, in bytes. One that would be longer is a size violation with the record's beginning.
    pub max_bytes: usize,
    /// Where the time comes from.
    pub clock: Clock,
}

impl BadRowRules {
    /// The rules of a collector whose bad stream takes lines of `max_bytes`.
    pub fn new(max_bytes: usize, clock: Clock) -> Self {
        let processor = Processor::new("snowmelt-collector", env!("CARGO_PKG_VERSION"));
        Self { processor, max_bytes, clock }
    }

    /// A bad row about `record`: a generic error with all of it as base64.
    fn line(&self, record: &Outgoing, reason: &str) -> String {
        let timestamp_micros = (self.clock)().saturating_mul(1000);
        let (errors, payload) = ([reason.to_owned()], base64(&record.data));
        let mut line = String::new();
        GenericError { processor: &self.processor, timestamp_micros, errors: &errors, payload: &payload }
            .write(&mut line);
        let expectation: String = reason.chars().take(MAX_EXPECTATION).collect();
        trim_to_size(&mut line, self.max_bytes, &expectation, &self.processor, timestamp_micros);
        line
    }
}

impl Salvage {
    /// Goes before `sink`, which `name` (`good` or `bad`) labels in logs and metrics. Without a `bad` sink everything refused goes to
    /// `file`, which is made when it is needed.
    pub fn new(
        name: &'static str,
        sink: Arc<dyn Sink>,
        bad: Option<Arc<dyn Sink>>,
        file: PathBuf,
        rules: BadRowRules,
    ) -> Self {
        Self { sink, bad, rest: SetAside { file, appending: Arc::default() }, rules, name }
    }

    async fn keep(&self, refused: Vec<(Outgoing, String)>, producer: Option<&Producer>) -> Result<(), SinkError> {
        let (records, first) = (refused.len(), refused.first().map_or("", |(_, reason)| reason).to_owned());
        let to_file = match &self.bad {
            None => refused,
            Some(bad) => {
                let rows = refused
                    .iter()
                    .map(|(record, reason)| Outgoing { data: self.rules.line(record, reason).into(), ..record.clone() })
                    .collect();
                match bad.put(rows, producer).await {
                    Ok(()) => Vec::new(),
                    Err(SinkError::Refused(rows)) => matching(&refused, &rows),
                    Err(error) => return Err(error),
                }
            }
        };
        let set_aside = to_file.len();
        if set_aside > 0 {
            self.rest.append(to_file, (self.rules.clock)()).await.map_err(|error| SinkError::Unavailable {
                reason: format!(
                    "a record that is refused for good cannot be set aside in {}: {error}",
                    self.rest.shown()
                ),
            })?;
            tracing::error!(sink = self.name, records = set_aside, reason = first, file = %self.rest.shown(), "records that cannot be stored are set aside");
        }
        if records > set_aside {
            tracing::error!(
                sink = self.name,
                records = records - set_aside,
                reason = first,
                "records that cannot be stored became bad rows"
            );
        }
        let count = |to, records: usize| {
            metrics::counter!("collector_unstorable_records_total", "sink" => self.name, "to" => to)
                .increment(records as u64);
        };
        count("bad", records - set_aside);
        count("file", set_aside);
        Ok(())
    }
}

/// The refused among `batch`, each with its reason.
fn refused_of(batch: Vec<Outgoing>, refused: Vec<Refused>) -> Vec<(Outgoing, String)> {
    let reasons = refused.into_iter().filter_map(|refused| Some((batch.get(refused.index)?.clone(), refused.reason)));
    reasons.collect()
}

/// Those whose bad rows were refused as well.
fn matching(refused: &[(Outgoing, String)], rows: &[Refused]) -> Vec<(Outgoing, String)> {
    rows.iter().filter_map(|row| refused.get(row.index).cloned()).collect()
}

#[async_trait]
impl Sink for Salvage {
    async fn put(&self, batch: Vec<Outgoing>, producer: Option<&Producer>) -> Result<(), SinkError> {
        // The data are shared, not copied.
        match self.sink.put(batch.clone(), producer).await {
            Err(SinkError::Refused(refused)) => self.keep(refused_of(batch, refused), producer).await,
            other => other,
        }
    }

    fn healthy(&self) -> bool {
        self.sink.healthy()
    }

    async fn close(&self, deadline: Duration) {
        self.sink.close(deadline).await;
    }
}

/// A file of records that nothing else takes: a JSON object a line, with the record's bytes as base64.
struct SetAside {
    file: PathBuf,
    /// One batch after the other, so that lines stay whole.
    appending: Arc<Mutex<()>>,
}

impl SetAside {
    /// Appends records durably.
    async fn append(&self, records: Vec<(Outgoing, String)>, now_ms: i64) -> io::Result<()> {
        let (file, appending) = (self.file.clone(), Arc::clone(&self.appending));
        let appended = tokio::task::spawn_blocking(move || {
            let _one_at_a_time = appending.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(directory) = file.parent() {
                fs::create_dir_all(directory)?;
            }
            let mut text = String::new();
            for (record, reason) in records {
                let line = serde_json::json!({
                    "atMs": now_ms, "reason": reason, "partitionKey": record.partition_key, "data": base64(&record.data),
                });
                text.push_str(&line.to_string());
                text.push('\n');
            }
            let mut file = File::options().create(true).append(true).open(&file)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()
        });
        appended.await.unwrap_or_else(|error| Err(io::Error::other(error)))
    }

    fn shown(&self) -> std::path::Display<'_> {
        self.file.display()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    /// Takes records of up to so many bytes, or none at all.
    #[derive(Default)]
    struct Narrow {
        most: AtomicUsize,
        down: std::sync::atomic::AtomicBool,
        taken: Mutex<Vec<Outgoing>>,
    }

    impl Narrow {
        fn new(most: usize) -> Arc<Self> {
            Arc::new(Self { most: AtomicUsize::new(most), ..Self::default() })
        }

        fn taken(&self) -> Vec<Outgoing> {
            std::mem::take(&mut self.taken.lock().unwrap())
        }
    }

    #[async_trait]
    impl Sink for Narrow {
        async fn put(&self, batch: Vec<Outgoing>, _: Option<&Producer>) -> Result<(), SinkError> {
            if self.down.load(Ordering::Relaxed) {
                return Err(SinkError::Unavailable { reason: "down".to_owned() });
            }
            let most = self.most.load(Ordering::Relaxed);
            let mut refused = Vec::new();
            for (index, record) in batch.into_iter().enumerate() {
                if record.data.len() <= most {
                    self.taken.lock().unwrap().push(record);
                } else {
                    refused.push(Refused { index, reason: format!("more than {most} bytes") });
                }
            }
            if refused.is_empty() { Ok(()) } else { Err(SinkError::Refused(refused)) }
        }

        fn healthy(&self) -> bool {
            true
        }
    }

    fn rules() -> BadRowRules {
        BadRowRules::new(1000, Arc::new(|| 1_000))
    }

    #[tokio::test]
    async fn what_is_refused_for_good_becomes_a_bad_row_and_the_rest_goes_through() {
        let directory = tempfile::tempdir().unwrap();
        let (good, bad) = (Narrow::new(10), Narrow::new(1000));
        let file = directory.path().join("new/refused.jsonl");
        let salvage = Salvage::new("good", good.clone(), Some(bad.clone()), file.clone(), rules());
        let batch = vec![Outgoing::new("a", "small"), Outgoing::new("b", "x".repeat(11)), Outgoing::new("c", "small")];
        salvage.put(batch, None).await.unwrap();
        assert_eq!(good.taken().iter().map(|record| record.partition_key.as_str()).collect::<Vec<_>>(), ["a", "c"]);
        let rows = bad.taken();
        assert_eq!(rows.len(), 1);
        assert_eq!(rows[0].partition_key, "b");
        let row: serde_json::Value = serde_json::from_slice(&rows[0].data).unwrap();
        assert!(row["schema"].as_str().unwrap().contains("/generic_error/"), "{row}");
        assert_eq!(row["data"]["failure"]["errors"][0], "more than 10 bytes");
        assert!(!file.try_exists().unwrap());

        // Too large for a whole bad row: its beginning.
        salvage.put(vec![Outgoing::new("d", "x".repeat(5000))], None).await.unwrap();
        let row: serde_json::Value = serde_json::from_slice(&bad.taken()[0].data).unwrap();
        assert!(row["schema"].as_str().unwrap().contains("/size_violation/"), "{row}");
    }

    #[tokio::test]
    async fn what_the_bad_sink_refuses_too_is_set_aside_and_one_that_is_down_is_waited_for() {
        let directory = tempfile::tempdir().unwrap();
        let (good, bad) = (Narrow::new(10), Narrow::new(1));
        let file = directory.path().join("refused.jsonl");
        let salvage = Salvage::new("good", good.clone(), Some(bad.clone()), file.clone(), rules());
        bad.down.store(true, Ordering::Relaxed);
        let put = salvage.put(vec![Outgoing::new("a", "x".repeat(11))], None).await;
        assert!(matches!(put, Err(SinkError::Unavailable { .. })), "{put:?}");
        bad.down.store(false, Ordering::Relaxed);
        for number in 0..2 {
            salvage.put(vec![Outgoing::new(format!("{number}"), "x".repeat(11))], None).await.unwrap();
        }
        let text = fs::read_to_string(&file).unwrap();
        let lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.len(), 2);
        assert_eq!((&lines[1]["partitionKey"], &lines[1]["data"]), (&"1".into(), &base64(&[b'x'; 11]).into()));

        // A file that cannot be written holds the record back rather than losing it.
        let salvage = Salvage::new("bad", good, None, directory.path().join("refused.jsonl/no"), rules());
        let put = salvage.put(vec![Outgoing::new("a", "x".repeat(11))], None).await;
        assert!(matches!(put, Err(SinkError::Unavailable { .. })), "{put:?}");
    }
}
