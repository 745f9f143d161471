//! S3, through plain HTTP: what the program sends is tested where the program is.

use reqwest::{Client, Method, Response, StatusCode};
use snowmelt_standins::{Fault, Kind, Service};

use crate::{standins, unique};

async fn ask(method: Method, url: &str, body: &str) -> Response {
    let asked = Client::new().request(method, url).body(body.to_owned());
    let credential =
        "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0";
    asked.header("Authorization", credential).send().await.unwrap()
}

#[tokio::test]
async fn objects_pass_through_with_their_lengths_and_tags() {
    let Some((standins, _turn)) = standins().await else { return };
    let bucket = format!("{}/{}", standins.endpoint(Service::S3).unwrap(), unique("bucket"));
    assert!(ask(Method::PUT, &bucket, "").await.status().is_success());
    let object = format!("{bucket}/a/b.txt");
    let put = ask(Method::PUT, &object, "hello").await;
    assert_eq!(put.headers()["etag"], "\"5d41402abc4b2a76b9719d911017c592\"");
    let head = ask(Method::HEAD, &object, "").await;
    assert_eq!((head.status(), head.headers()["content-length"].to_str().unwrap()), (StatusCode::OK, "5"));
    assert_eq!(ask(Method::GET, &object, "").await.text().await.unwrap(), "hello");
    assert_eq!(ask(Method::GET, &format!("{bucket}/none"), "").await.status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn s3_slows_down_cuts_and_lies_about_tags() {
    let Some((standins, _turn)) = standins().await else { return };
    let bucket = format!("{}/{}", standins.endpoint(Service::S3).unwrap(), unique("bucket"));
    assert!(ask(Method::PUT, &bucket, "").await.status().is_success());
    let object = format!("{bucket}/a");
    let faults = standins.faults(Service::S3).unwrap();
    let before = faults.report().requests("GET");
    faults.set(vec![
        Fault::new("PUT */a", Kind::Throttle).times(1),
        Fault::new("PUT */a", Kind::WrongEtag).times(1),
        Fault::new("GET */a", Kind::Cut).times(1),
    ]);
    let slow = ask(Method::PUT, &object, "hello").await;
    assert_eq!(slow.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(slow.text().await.unwrap().contains("<Code>SlowDown</Code>"));
    let lie = ask(Method::PUT, &object, "hello").await;
    assert_eq!(
        (lie.status(), &lie.headers()["etag"] == "\"5d41402abc4b2a76b9719d911017c592\""),
        (StatusCode::OK, false)
    );
    let cut = ask(Method::GET, &object, "").await;
    assert_eq!(cut.headers()["content-length"], "5");
    assert!(cut.text().await.is_err());
    assert_eq!(ask(Method::GET, &object, "").await.text().await.unwrap(), "hello");
    assert_eq!(faults.report().requests("GET") - before, 2);
}
