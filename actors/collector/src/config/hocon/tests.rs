//! Files as people have them.

use std::{collections::HashMap, path::Path, time::Duration};

use super::*;
use crate::config::SameSite;

fn parse(text: &str, environment: &HashMap<String, String>) -> Result<HoconConfig, HoconError> {
    super::parse(text, Path::new("."), environment)
}

fn environment(pairs: &[(&str, &str)]) -> HashMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn the_file_of_the_terraform_module_works() {
    let text = r#"
        collector {
          license { accept = ${ACCEPT} }
          interface = "0.0.0.0"
          port = 8080
          ssl { enable = false, redirect = false, port = 8443 }
          paths { "/com.acme/track" = "/com.snowplowanalytics.snowplow/tp2", "/custom/path/" = "/com.snowplowanalytics.iglu/v1" }
          p3p { policyRef = "/w3c/p3p.xml", CP = "NOI DSP COR NID PSA OUR IND COM NAV STA" }
          crossDomain { enabled = false, domains = [ "*" ], secure = true }
          cookie { enabled = true, expiration = "365 days", name = sp, domains = [], fallbackDomain = "", secure = true, httpOnly = false, sameSite = "None" }
          doNotTrackCookie { enabled = false, name = "", value = "" }
          cookieBounce { enabled = false, name = "n3pc", fallbackNetworkUserId = "00000000-0000-4000-A000-000000000000", forwardedProtocolHeader = "X-Forwarded-Proto" }
          enableDefaultRedirect = false
          redirectMacro { enabled = false, placeholder = "[TOKEN]" }
          rootResponse { enabled = false, statusCode = 302, headers = {}, body = "" }
          cors { accessControlMaxAge = "5 seconds" }
          prometheusMetrics { enabled = false }
          compression { enabled = true, zstdCompressionLevel = 9 }
          telemetry { disable = false, instanceId = ${INSTANCE_ID}, moduleName = collector-kinesis-ec2 }
          streams {
            good = raw-stream
            bad = bad-stream
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
        akka { loglevel = DEBUG }
    "#;
    let read = parse(text, &environment(&[("ACCEPT", "yes"), ("INSTANCE_ID", "i-1")])).unwrap();
    let config = &read.config;
    config.check().unwrap();
    assert_eq!(config.streams.good.name.as_deref(), Some("raw-stream"));
    assert_eq!(config.streams.bad.name.as_deref(), Some("bad-stream"));
    assert_eq!(config.streams.bad.region.as_deref(), Some("eu-west-1"));
    assert_eq!(config.streams.good.buffer.byte_limit, 1_000_000);
    assert_eq!(config.cors.access_control_max_age, 5000);
    assert_eq!(config.cookie.same_site, Some(SameSite::None));
    assert_eq!(config.cookie.expiration, Duration::from_secs(365 * 86_400));
    assert_eq!(config.paths["/com.acme/track"], "/com.snowplowanalytics.snowplow/tp2");
    assert_eq!(config.license.accept, Value::Bool(true));
    assert_eq!(config.telemetry.instance_id.as_deref(), Some("i-1"));
    let mut idle: Vec<&str> = read.notes.iter().map(|note| note.key.as_str()).collect();
    idle.sort_unstable();
    let expected = [
        "license",
        "p3p",
        "prometheusMetrics",
        "streams.buffer.timeLimit",
        "streams.sink.aws",
        "streams.sink.backoffPolicy.maxRetries",
        "streams.sink.enabled",
        "streams.sink.region",
        "streams.sink.threadPoolSize",
        "telemetry",
    ];
    assert_eq!(idle, expected);
    assert!(parse(text, &environment(&[])).is_err(), "a variable that is not set is an error");
}

#[test]
fn both_styles_of_streams_may_be_mixed_and_the_new_one_wins() {
    let text = r#"
        port = ${PORT}
        streams {
          good { name = "raw", region = "eu-central-1", maxBytes = 192000, buffer { recordLimit = 10 } }
          bad { name = 1234, sqsBadBuffer = ${?QUEUE} }
          sink { region = "us-east-1", sqsMaxBytes = 100 }
          buffer { byteLimit = 5, recordLimit = 6, timeLimit = 7 }
        }
        cookie { sameSite = null }
        networking { idleTimeout = 10 minutes, dropPayloadSize = "100", responseHeaderTimeout = 250 }
    "#;
    let config = parse(text, &environment(&[("PORT", "9090")])).unwrap().config;
    assert_eq!(config.address(), ("0.0.0.0", 9090));
    let (good, bad) = (&config.streams.good, &config.streams.bad);
    assert_eq!((good.region.as_deref(), bad.region.as_deref()), (Some("eu-central-1"), Some("us-east-1")));
    assert_eq!((good.buffer.byte_limit, good.buffer.record_limit, good.buffer.time_limit), (5, 10, 7));
    assert_eq!((good.max_bytes, bad.sqs_max_bytes), (192_000, 100));
    assert_eq!((bad.name.as_deref(), bad.sqs_bad_buffer.as_deref()), (Some("1234"), None));
    assert_eq!(config.cookie.same_site, None);
    assert_eq!(config.networking.idle_timeout, Duration::from_secs(600));
    assert_eq!(config.networking.response_header_timeout, Duration::from_millis(250));
    assert_eq!(config.networking.drop_payload_size, 100);
}

#[test]
fn an_empty_file_means_the_defaults() {
    assert_eq!(parse("", &HashMap::new()).unwrap().config, CollectorConfig::default());
}

#[test]
fn the_spool_is_configured_beside_the_originals_keys() {
    let read =
        parse("collector { durability = spool, spool { maxBytes = ${SIZE} } }", &environment(&[("SIZE", "10000000")]));
    let config = read.unwrap().config;
    config.check().unwrap();
    assert_eq!((config.durability, config.spool.max_bytes), (crate::Durability::Spool, 10_000_000));
}

#[test]
fn wrong_values_are_errors() {
    for text in ["port = nowhere", "cookie { sameSite = Some }", "{", "cookie = 5"] {
        assert!(parse(text, &HashMap::new()).is_err(), "{text}");
    }
}

#[test]
fn an_unknown_key_is_told_with_the_nearest_right_one_and_ignored() {
    let text =
        "collector { prot = 80, cookie { sameSit = Lax }, \"a.b\" = 1, streams { good = raw, sink { regoin = x } } }";
    let read = parse(text, &HashMap::new()).unwrap();
    let notes: Vec<String> = read.notes.iter().map(ToString::to_string).collect();
    let expected = [
        "prot: unknown key; did you mean `port`?; it is ignored, as in the original",
        "cookie.sameSit: unknown key; did you mean `cookie.sameSite`?; it is ignored, as in the original",
        "a.b: unknown key; it is ignored, as in the original",
        "streams.sink.regoin: unknown key; did you mean `streams.good.region`?; it is ignored, as in the original",
        "streams.sink.regoin: unknown key; did you mean `streams.bad.region`?; it is ignored, as in the original",
    ];
    assert_eq!(notes, expected);
    assert_eq!(read.config.port, CollectorConfig::default().port);
}

#[test]
fn files_beside_may_be_included_and_substitutions_reach_them() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("cookie.conf"), "cookie { name = ${COOKIE}, secure = false }").unwrap();
    let text = "collector { include \"cookie.conf\"\n cookie.httpOnly = false }";
    let read = super::parse(text, folder.path(), &environment(&[("COOKIE", "id")])).unwrap();
    let cookie = &read.config.cookie;
    assert_eq!((cookie.name.as_str(), cookie.secure, cookie.http_only), ("id", false, false));
}

#[test]
fn settings_of_the_jvm_are_stronger_than_the_file() {
    let options = "-Xmx1g -Dcollector.port=81 -Dcookie.enabled=false -Dcollector.streams.good.name=other";
    let read =
        parse("collector { port = 80, streams { good = raw } }", &environment(&[("JAVA_OPTS", options)])).unwrap();
    assert_eq!((read.config.port, read.config.cookie.enabled), (81, false));
    assert_eq!(read.config.streams.good.name.as_deref(), Some("other"));
}

#[test]
fn a_key_store_is_refused_with_the_way_out() {
    let java = [("JDK_JAVA_OPTIONS", "-Djavax.net.ssl.keyStore=/tls/ssl.p12 -Djavax.net.ssl.keyStorePassword=secret")];
    let error = parse("ssl { enable = true }", &environment(&java)).unwrap_err().to_string();
    assert!(error.contains("openssl pkcs12 -in /tls/ssl.p12 -nokeys -out certificate.pem"), "{error}");
    assert!(!error.contains("secret"));
    parse("ssl { enable = true, certificate = a, privateKey = b }", &environment(&java)).unwrap();
    parse("", &environment(&java)).unwrap();
}

#[test]
fn what_was_written_gives_the_same_configuration_again() {
    let text = "cookie { sameSite = null, fallbackDomain = null, expiration = 1 day }, paths { \"/a.b/c\" = \"/d/e\" }";
    let read = parse(text, &HashMap::new()).unwrap();
    assert_eq!(
        read.written,
        serde_json::json!({
            "cookie": {"sameSite": "omit", "expiration": "1 day"}, "paths": {"/a.b/c": "/d/e"}
        })
    );
    assert_eq!(CollectorConfig::from_value(read.written), Ok(read.config));
}
