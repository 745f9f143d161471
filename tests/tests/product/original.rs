//! Configuration files of the original, unchanged.

use std::ffi::OsString;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use snowmelt_tests::{Place, client, eventually, run_to_end};

/// As the original's Terraform module writes it, with a port of its own.
const TERRAFORM: &str = r#"
collector {
  license { accept = ${ACCEPT_LIMITED_USE_LICENSE} }
  interface = "127.0.0.1"
  port = 0
  ssl { enable = false, redirect = false, port = 8443 }
  paths { "/com.acme/track" = "/com.snowplowanalytics.snowplow/tp2" }
  p3p { policyRef = "/w3c/p3p.xml", CP = "NOI DSP COR NID PSA OUR IND COM NAV STA" }
  cookie { enabled = true, expiration = "365 days", name = acme_id, domains = [], fallbackDomain = "", secure = true, httpOnly = false, sameSite = "None" }
  redirectMacro { enabled = false, placeholder = "[TOKEN]" }
  cors { accessControlMaxAge = "5 seconds" }
  prometheusMetrics { enabled = false }
  compression { enabled = true, type = zstd, zstdCompressionLevel = 9 }
  telemetry { disable = false, instanceId = ${INSTANCE_ID}, moduleName = collector-kinesis-ec2 }
  preTerminationPeriod = 0 seconds
  streams {
    good = acme-raw
    bad = acme-bad
    useIpAddressAsPartitionKey = false
    sink {
      enabled = kinesis
      region = eu-west-1
      threadPoolSize = 10
      aws { accessKey = iam, secretKey = iam }
      backoffPolicy { minBackoff = 500, maxBackoff = 1500, maxRetries = 3 }
    }
    buffer { byteLimit = 1000000, recordLimit = 500, timeLimit = 500 }
  }
}
"#;

#[tokio::test(flavor = "multi_thread")]
async fn the_originals_collector_runs_on_its_own_file() -> Result<()> {
    let place = Place::new().await?;
    let file = place.path().join("config.hocon");
    std::fs::write(&file, TERRAFORM)?;
    let environment = || -> Vec<(&'static str, OsString)> {
        vec![("ACCEPT_LIMITED_USE_LICENSE", "yes".into()), ("INSTANCE_ID", "i-0123".into())]
    };
    let given = format!("--collector-config={}", file.display());
    let collector = place.start_definition(&given, &[], environment()).await?;
    let http = client()?;
    for event in 0..20 {
        let url = format!("{}/com.acme/track?event={event}", collector.info.collector_url);
        let answer = http.post(url).body("{}").send().await?;
        ensure!(answer.status() == 200, "{}", answer.status());
        let cookie = answer.headers().get("set-cookie").context("a cookie")?.to_str()?;
        ensure!(cookie.starts_with("acme_id=") && cookie.ends_with("Path=/; SameSite=None; Secure"), "{cookie}");
    }
    let data = place.data();
    let data = data.to_str().context("a temporary directory has a plain name")?;
    // Packed and compressed; every reader takes them apart.
    eventually(Duration::from_secs(30), async || {
        let tail = run_to_end(&["tail", "acme-raw", "--data-dir", data]).await?;
        let lines =
            tail.stdout.lines().filter(|line| line.contains("\"path\":\"/com.snowplowanalytics.snowplow/tp2\""));
        let count = lines.count();
        ensure!(count == 20, "{count} events: {tail:?}");
        Ok(())
    })
    .await?;
    let log = collector.log_tail();
    for told in ["telemetry: nothing is reported to anybody", "streams.sink.threadPoolSize: there is no pool"] {
        ensure!(log.contains(told), "nothing about {told}: {log}");
    }
    let stopped = collector.interrupt().await?;
    ensure!(stopped.code == Some(0), "{stopped:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_of_the_original_becomes_a_definition() -> Result<()> {
    let place = Place::new().await?;
    let (hocon, toml) = (place.path().join("config.hocon"), place.path().join("collector.toml"));
    let name = |path: &std::path::Path| path.display().to_string();
    std::fs::write(
        &hocon,
        "collector { prot = 80, port = 8099, streams { good = a, bad = b }, cookie.sameSite = null }",
    )?;
    let converted = run_to_end(&["convert", "collector", &name(&hocon)]).await?;
    ensure!(converted.code == Some(0), "{converted:?}");
    ensure!(converted.stderr.contains("prot: unknown key; did you mean `port`?"), "{converted:?}");
    std::fs::write(&toml, &converted.stdout)?;
    let check = run_to_end(&["check", &name(&toml)]).await?;
    ensure!(check.code == Some(0) && check.stdout.contains("http 0.0.0.0:8099 ─► collector ─► stream a"), "{check:?}");
    let same = run_to_end(&["check", "--collector-config", &name(&hocon)]).await?;
    ensure!(same.code == Some(0) && same.stdout.contains("http 0.0.0.0:8099 ─► collector ─► stream a"), "{same:?}");

    std::fs::write(&hocon, "collector { port = 80, cookie { name = \"a;b\" } }")?;
    let wrong = run_to_end(&["check", "--collector-config", &name(&hocon)]).await?;
    ensure!(
        wrong.code == Some(2) && wrong.stderr.contains("config.hocon") && wrong.stderr.contains("cookie.name"),
        "{wrong:?}"
    );
    let file = place.path().join("wrong.toml");
    std::fs::write(&file, converted.stdout.replace("sameSite", "sameSit"))?;
    let wrong = run_to_end(&["check", &name(&file)]).await?;
    ensure!(wrong.code == Some(2) && wrong.stderr.contains("did you mean `cookie.sameSite`?"), "{wrong:?}");
    Ok(())
}
