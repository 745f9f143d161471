use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;

/// What a file server answers now.
#[derive(Debug, Clone, Default)]
pub struct Page {
    pub status: u16,
    pub body: Vec<u8>,
    pub etag: Option<&'static str>,
    pub modified: Option<&'static str>,
    /// The length that it states, when it is not the true one.
    pub announced: Option<usize>,
}

impl Page {
    pub fn of(body: &str) -> Self {
        Self { status: 200, body: body.into(), ..Self::default() }
    }
}

/// `If-None-Match` and `If-Modified-Since` of a request, and how many bytes of body it was sent.
type Asked = (Option<String>, Option<String>, usize);

/// A file server of one file.
#[derive(Clone)]
pub struct Server {
    pub uri: String,
    page: Arc<Mutex<Page>>,
    log: Arc<Mutex<Vec<Asked>>>,
}

impl Server {
    pub async fn start(page: Page) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let uri = format!("http://{}/rules.yml", listener.local_addr().unwrap());
        let server = Self { uri, page: Arc::new(Mutex::new(page)), log: Arc::default() };
        let serving = server.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serving.clone().serve(stream));
            }
        });
        server
    }

    pub fn now(&self, page: Page) {
        *self.page.lock().unwrap() = page;
    }

    pub fn log(&self) -> Vec<Asked> {
        self.log.lock().unwrap().clone()
    }

    async fn serve(self, mut stream: TcpStream) {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let Ok(byte) = stream.read_u8().await else { return };
            head.push(byte);
        }
        let head = String::from_utf8(head).unwrap().to_lowercase();
        let header = |name: &str| head.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned);
        let (none_match, since) = (header("if-none-match: "), header("if-modified-since: "));
        let mut page = self.page.lock().unwrap().clone();
        let same =
            |asked: &Option<String>, have: Option<&str>| asked.is_some() && *asked == have.map(str::to_lowercase);
        if page.status == 200 && (same(&none_match, page.etag) || same(&since, page.modified)) {
            (page.status, page.body) = (304, Vec::new());
        }
        self.log.lock().unwrap().push((none_match, since, page.body.len()));
        let length = page.announced.unwrap_or(page.body.len());
        let mut answer = format!("HTTP/1.1 {} X\r\nconnection: close\r\n", page.status);
        for (name, value) in [("etag", page.etag), ("last-modified", page.modified)] {
            answer.extend(value.map(|value| format!("{name}: {value}\r\n")));
        }
        // A length of 0 with a body: none is stated, and it ends with the connection.
        if length > 0 || page.body.is_empty() {
            answer.push_str(&format!("content-length: {length}\r\n"));
        }
        answer.push_str("\r\n");
        // The client may have gone away: that is what some tests are about.
        if stream.write_all(answer.as_bytes()).await.is_ok() {
            stream.write_all(&page.body).await.ok();
        }
    }
}

const QUICK: Patience = Patience {
    whole: Duration::from_secs(20),
    silence: Duration::from_secs(10),
    retries: 2,
    first_wait: Duration::from_millis(2),
    max_bytes: 1_000,
};

async fn look(store: &mut AssetStore, server: &Server) -> Result<Option<String>, String> {
    let Looked { changes, failures } = store.look(std::slice::from_ref(&server.uri)).await;
    if let Some(failure) = failures.first() {
        assert!(changes.is_empty());
        return Err(failure.to_string());
    }
    let content = changes.get(&server.uri).map(|file| String::from_utf8(file.content.to_vec()).unwrap());
    store.adopt(changes);
    Ok(content)
}

#[tokio::test]
async fn a_file_with_an_etag_is_sent_again_only_when_it_has_changed() {
    let server = Server::start(Page { etag: Some("\"v1\""), ..Page::of("one") }).await;
    let mut store = AssetStore::new(Path::new("."), QUICK).unwrap();
    assert_eq!(look(&mut store, &server).await, Ok(Some("one".to_owned())));
    assert_eq!(look(&mut store, &server).await, Ok(None));
    server.now(Page { etag: Some("\"v2\""), ..Page::of("two") });
    assert_eq!(look(&mut store, &server).await, Ok(Some("two".to_owned())));
    assert_eq!(look(&mut store, &server).await, Ok(None));
    let tag = |text: &str| Some(text.to_owned());
    let log: Vec<_> = server.log().into_iter().map(|(none_match, _, bytes)| (none_match, bytes)).collect();
    assert_eq!(log, [(None, 3), (tag("\"v1\""), 0), (tag("\"v1\""), 3), (tag("\"v2\""), 0)]);
    assert_eq!(store.with(&Changes::new()).get(&server.uri).unwrap().as_ref(), b"two");
}

#[tokio::test]
async fn a_file_with_a_date_is_asked_for_by_it_and_one_with_neither_is_compared() {
    let date = Some("Tue, 24 Nov 2026 10:00:00 GMT");
    let server = Server::start(Page { modified: date, ..Page::of("one") }).await;
    let mut store = AssetStore::new(Path::new("."), QUICK).unwrap();
    assert_eq!(look(&mut store, &server).await, Ok(Some("one".to_owned())));
    assert_eq!(look(&mut store, &server).await, Ok(None));
    assert_eq!(server.log()[1], (None, date.map(str::to_lowercase), 0));

    let plain = Server::start(Page::of("one")).await;
    assert_eq!(look(&mut store, &plain).await, Ok(Some("one".to_owned())));
    assert_eq!(look(&mut store, &plain).await, Ok(None));
    plain.now(Page::of("two"));
    assert_eq!(look(&mut store, &plain).await, Ok(Some("two".to_owned())));
    assert!(plain.log().iter().all(|(none_match, since, _)| none_match.is_none() && since.is_none()));
}

#[tokio::test]
async fn what_may_pass_is_tried_again_and_what_the_server_refuses_is_not() {
    let server = Server::start(Page { status: 503, ..Page::default() }).await;
    let mut store = AssetStore::new(Path::new("."), QUICK).unwrap();
    let failure = look(&mut store, &server).await.unwrap_err();
    assert!(failure.contains(&server.uri) && failure.contains("503"), "{failure}");
    assert_eq!(server.log().len(), 3);
    server.now(Page { status: 404, ..Page::default() });
    let failure = look(&mut store, &server).await.unwrap_err();
    assert!(failure.contains("404"), "{failure}");
    assert_eq!(server.log().len(), 4);
    server.now(Page::of("there it is"));
    assert_eq!(look(&mut store, &server).await, Ok(Some("there it is".to_owned())));
    // Half a file is no file.
    server.now(Page { announced: Some(500), ..Page::of("half") });
    assert!(look(&mut store, &server).await.is_err());
    assert_eq!(store.with(&Changes::new()).get(&server.uri).unwrap().as_ref(), b"there it is");
}

#[tokio::test]
async fn a_file_that_is_too_large_is_refused_before_or_while_it_comes() {
    let announced = Server::start(Page { announced: Some(1_001), ..Page::of("") }).await;
    let silent = Server::start(Page { announced: Some(0), ..Page::of(&"x".repeat(200_000)) }).await;
    for server in [announced, silent] {
        let mut store = AssetStore::new(Path::new("."), QUICK).unwrap();
        let failure = look(&mut store, &server).await.unwrap_err();
        assert!(failure.ends_with("it is larger than 1000 B"), "{failure}");
        assert_eq!(server.log().len(), 1, "it is not fetched again");
    }
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("large"), "x".repeat(1_001)).unwrap();
    let store = AssetStore::new(folder.path(), QUICK).unwrap();
    let looked = store.look(&["large".to_owned()]).await;
    assert!(looked.failures[0].to_string().ends_with("it is larger than 1000 B"), "{}", looked.failures[0]);
}

#[tokio::test]
async fn one_file_that_fails_keeps_no_other_old() {
    let (good, bad) =
        (Server::start(Page::of("good")).await, Server::start(Page { status: 500, ..Page::default() }).await);
    let store = AssetStore::new(Path::new("."), QUICK).unwrap();
    let looked = store.look(&[bad.uri.clone(), good.uri.clone()]).await;
    assert_eq!((looked.changes.len(), looked.failures.len()), (1, 1));
    assert!(looked.changes.contains_key(&good.uri));
}

#[test]
fn addresses_that_can_be_fetched_are_told_from_those_that_can_not() {
    for fine in ["http://h/f", "https://h/f", "file:///etc/f", "../f.yml", "/f"] {
        assert_eq!(unsupported(fine), None);
    }
    for wrong in ["s3://bucket/f", "gs://bucket/f", "ftp://h/f"] {
        assert!(unsupported(wrong).is_some_and(|reason| reason.contains("http://")));
    }
}
