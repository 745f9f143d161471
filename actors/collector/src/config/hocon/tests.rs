//! Files as people have them.

use std::time::Duration;

use super::*;
use crate::config::SameSite;

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
    let mut ignored = read.ignored.clone();
    ignored.sort();
    assert_eq!(ignored, ["prometheusMetrics", "streams.bad.enabled", "streams.good.enabled"]);
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
    let HoconConfig { config, ignored } = parse(text, &environment(&[("PORT", "9090")])).unwrap();
    assert!(ignored.is_empty(), "{ignored:?}");
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
