//! Page views alone, one a request, each with three entities: the traffic that enrichment's speed is measured with.

use crate::EventKind;
use crate::json::self_describing;
use crate::request::post;
use crate::shop::CROWD;
use crate::visitor::{ENCODED_POST, Visitor};
use crate::{ShopConfig, ShopRequest};

/// The page views of the shop's visitors, without end: each a POST of its own of about 2.3 KB, its entities (web page,
/// session, the sixteen times of the page's loading) in base64. Browsers and addresses repeat as the visitors do.
pub struct PageViews {
    rng: fastrand::Rng,
    now_ms: i64,
    crowd: Vec<Visitor>,
    next: usize,
}

impl PageViews {
    /// The same seed gives the same requests.
    pub fn new(seed: u64) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed);
        let crowd = (0..CROWD).map(|_| Visitor::arrive(&mut rng)).collect();
        Self { rng, now_ms: ShopConfig::default().start_ms, crowd, next: 0 }
    }
}

impl Iterator for PageViews {
    type Item = ShopRequest;

    fn next(&mut self) -> Option<ShopRequest> {
        loop {
            self.next = (self.next + 1) % self.crowd.len();
            let visitor = &mut self.crowd[self.next];
            if visitor.has_left() {
                *visitor = Visitor::arrive(&mut self.rng);
            }
            let drafts = visitor.visit(&mut self.rng);
            let Some(mut view) = drafts.into_iter().find(|draft| draft.kind == EventKind::PageView) else { continue };
            view.entities.retain(|entity| entity.contains("/web_page/") || entity.contains("/client_session/"));
            self.now_ms += i64::from(self.rng.u32(1..80));
            view.entities.push(page_timing(self.now_ms, &mut self.rng));
            view.seal(ENCODED_POST, &ShopConfig::default().app_id, self.now_ms, self.now_ms + 50);
            return Some(post(visitor, std::slice::from_ref(&view)));
        }
    }
}

/// What browsers measured before they measured to a fraction of a millisecond.
fn page_timing(now_ms: i64, rng: &mut fastrand::Rng) -> String {
    let names = [
        "navigationStart",
        "fetchStart",
        "domainLookupStart",
        "domainLookupEnd",
        "connectStart",
        "connectEnd",
        "requestStart",
        "responseStart",
        "responseEnd",
        "domLoading",
        "domInteractive",
        "domContentLoadedEventStart",
        "domContentLoadedEventEnd",
        "domComplete",
        "loadEventStart",
        "loadEventEnd",
    ];
    let mut at = now_ms - 3_000;
    self_describing("iglu:org.w3/PerformanceTiming/jsonschema/1-0-0", |object| {
        for name in names {
            at += i64::from(rng.u32(0..150));
            object.plain(name, at);
        }
    })
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use serde_json::Value;

    use super::*;

    #[test]
    fn every_request_is_one_page_view_with_three_entities() {
        let mut agents = HashSet::new();
        for request in PageViews::new(3).take(300) {
            assert_eq!(request.events.len(), 1);
            let body: Value = serde_json::from_str(&request.body.unwrap()).unwrap();
            let event = &body["data"][0];
            assert_eq!(event["e"], "pv");
            let contexts = URL_SAFE_NO_PAD.decode(event["cx"].as_str().unwrap()).unwrap();
            let contexts: Value = serde_json::from_slice(&contexts).unwrap();
            assert_eq!(contexts["data"].as_array().unwrap().len(), 3);
            assert_eq!(contexts["data"][2]["data"].as_object().unwrap().len(), 16);
            agents.extend(request.headers.into_iter().filter(|(name, _)| *name == "User-Agent"));
        }
        assert!(agents.len() > 3, "{}", agents.len());
    }

    #[test]
    fn the_same_seed_gives_the_same_requests() {
        let bodies = |seed| PageViews::new(seed).take(20).map(|request| request.body).collect::<Vec<_>>();
        assert_eq!(bodies(1), bodies(1));
        assert_ne!(bodies(1), bodies(2));
    }
}
