//! From what a visitor did to the HTTP request that its tracker sends.

use std::fmt::Display;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::json::write_text;
use crate::visitor::{TrackerSetup, Visitor};
use crate::{EventKind, Expect, Method, ShopEvent, ShopRequest};

const ENVELOPE: &str = "iglu:com.snowplowanalytics.snowplow/unstruct_event/jsonschema/1-0-0";
const ENTITIES: &str = "iglu:com.snowplowanalytics.snowplow/contexts/jsonschema/1-0-1";
const PAYLOAD: &str = "iglu:com.snowplowanalytics.snowplow/payload_data/jsonschema/1-0-4";

/// An event before it is encoded.
pub(crate) struct Draft {
    pub(crate) kind: EventKind,
    pub(crate) expect: Expect,
    pub(crate) event_id: String,
    /// The parameter `e`; none where a bad event lacks it.
    pub(crate) code: Option<&'static str>,
    pub(crate) parameters: Vec<(&'static str, String)>,
    /// The self-describing event itself, without its envelope.
    pub(crate) self_describing: Option<String>,
    pub(crate) entities: Vec<String>,
}

impl Draft {
    pub(crate) fn new(kind: EventKind) -> Self {
        Self {
            kind,
            expect: Expect::Good,
            event_id: String::new(),
            code: Some(kind.code()),
            parameters: Vec::with_capacity(24),
            self_describing: None,
            entities: Vec::new(),
        }
    }

    pub(crate) fn put(&mut self, name: &'static str, value: impl Display) -> &mut Self {
        self.parameters.push((name, value.to_string()));
        self
    }

    pub(crate) fn with(mut self, entity: &str) -> Self {
        self.entities.push(entity.to_owned());
        self
    }

    /// Turns the event and its entities into parameters and adds the envelope of the tracker.
    pub(crate) fn seal(&mut self, setup: TrackerSetup, app_id: &str, created_ms: i64, sent_ms: i64) {
        if let Some(code) = self.code {
            self.put("e", code);
        }
        let id = std::mem::take(&mut self.event_id);
        self.put("eid", &id).put("aid", app_id).put("dtm", created_ms).put("stm", sent_ms);
        self.event_id = id;
        if let Some(event) = self.self_describing.take() {
            self.put_json(setup, "ue_px", "ue_pr", &format!(r#"{{"schema":"{ENVELOPE}","data":{event}}}"#));
        }
        if !self.entities.is_empty() {
            let list = std::mem::take(&mut self.entities).join(",");
            self.put_json(setup, "cx", "co", &format!(r#"{{"schema":"{ENTITIES}","data":[{list}]}}"#));
        }
    }

    fn put_json(&mut self, setup: TrackerSetup, encoded: &'static str, plain: &'static str, json: &str) {
        if setup.base64 {
            self.put(encoded, URL_SAFE_NO_PAD.encode(json));
        } else {
            self.put(plain, json);
        }
    }

    fn event(&self) -> ShopEvent {
        ShopEvent { event_id: self.event_id.clone(), kind: self.kind, expect: self.expect }
    }
}

/// A GET with one sealed event.
pub(crate) fn get(visitor: &Visitor, path: &str, draft: &Draft) -> ShopRequest {
    let mut target = String::with_capacity(2048);
    target.push_str(path);
    for (i, (name, value)) in draft.parameters.iter().enumerate() {
        target.push(if i == 0 { '?' } else { '&' });
        target.push_str(name);
        target.push('=');
        target.extend(encode(value));
    }
    ShopRequest {
        method: Method::Get,
        path_and_query: target,
        content_type: None,
        headers: headers(visitor),
        body: None,
        events: vec![draft.event()],
    }
}

/// A POST with sealed events.
pub(crate) fn post(visitor: &Visitor, drafts: &[Draft]) -> ShopRequest {
    let mut body = format!(r#"{{"schema":"{PAYLOAD}","data":["#);
    for (i, draft) in drafts.iter().enumerate() {
        if i > 0 {
            body.push(',');
        }
        body.push('{');
        for (j, (name, value)) in draft.parameters.iter().enumerate() {
            if j > 0 {
                body.push(',');
            }
            write_text(&mut body, name);
            body.push(':');
            write_text(&mut body, value);
        }
        body.push('}');
    }
    body.push_str("]}");
    ShopRequest {
        method: Method::Post,
        path_and_query: "/com.snowplowanalytics.snowplow/tp2".to_owned(),
        content_type: Some("application/json; charset=UTF-8"),
        headers: headers(visitor),
        body: Some(body),
        events: drafts.iter().map(Draft::event).collect(),
    }
}

/// Percent-encodes a query value, as `encodeURIComponent` does.
pub(crate) fn encode(value: &str) -> percent_encoding::PercentEncode<'_> {
    const KEPT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');
    utf8_percent_encode(value, KEPT)
}

fn headers(visitor: &Visitor) -> Vec<(&'static str, String)> {
    vec![
        ("User-Agent", visitor.browser.user_agent.to_owned()),
        ("X-Forwarded-For", visitor.ip.clone()),
        ("Accept-Language", visitor.place.language.to_owned()),
        ("Origin", "https://shop.example.com".to_owned()),
        ("Referer", "https://shop.example.com/".to_owned()),
        ("Cookie", format!("sp={}", visitor.network_id)),
    ]
}
