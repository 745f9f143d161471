//! The pure core: what the collector answers and records for a request (spec, sections 1 to 4).
//!
//! Two steps, because only a POST's body is read: [`Core::route`] looks at the head, [`Core::track`] decides with the body.
//! No socket, clock or randomness in here: the address, the time and the source of UUIDs are arguments.

mod address;
mod answer;
mod bounce;
mod content_type;
mod cookie;
mod form;
mod head;
mod origin;
mod record;
mod redirect;
mod route;
mod size;
mod split;

use std::borrow::Cow;

use uuid::Uuid;

pub use answer::Answer;
pub use cookie::payload_cookie_header;
pub use head::{Head, Header};
pub use route::{Flavour, Route, Tracking};
pub use size::{Limits, SizeCheck, check_size};
pub use split::split_list;

use crate::{CollectorConfig, CollectorError, Outgoing};
use answer::Templates;
use cookie::CookieRules;
use record::Recorder;
use redirect::RedirectRules;
use route::Router;

/// Network user id of an anonymous request.
pub const ANONYMOUS_ID: &str = "00000000-0000-0000-0000-000000000000";

/// What to do for one tracking request: make the records durable, then answer.
#[derive(Debug)]
pub struct Decision {
    /// The answer, once every record is durable.
    pub answer: Answer,
    /// Records of the good stream.
    pub good: Vec<Outgoing>,
    /// Records of the bad stream.
    pub bad: Vec<Outgoing>,
}

/// Where a request's network user id came from (2.1); decides about the answer's cookie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum IdSource {
    Anonymous,
    Query,
    Cookie,
    BounceFallback,
    Fresh,
}

/// The configuration, prepared: everything that is the same for every request is computed once.
#[derive(Debug)]
pub struct Core {
    router: Router,
    templates: Templates,
    cookies: CookieRules,
    redirects: RedirectRules,
    recorder: Recorder,
    bounce_name: Option<String>,
    bounce_fallback: String,
    bounce_protocol_header: Option<String>,
}

impl Core {
    /// Prepares a configuration.
    ///
    /// # Errors
    /// [`CollectorError::Config`] when [`CollectorConfig::check`] fails.
    pub fn new(config: &CollectorConfig) -> Result<Self, CollectorError> {
        config.check()?;
        Ok(Self {
            router: Router::new(config),
            templates: Templates::new(config),
            cookies: CookieRules::new(config)?,
            redirects: RedirectRules::new(config),
            recorder: Recorder::new(config),
            bounce_name: config.cookie_bounce.enabled.then(|| config.cookie_bounce.name.clone()),
            bounce_fallback: config.cookie_bounce.fallback_network_user_id.clone(),
            bounce_protocol_header: config.cookie_bounce.forwarded_protocol_header.clone(),
        })
    }

    /// Finds the rule for a request (1.1); the first that matches wins.
    pub fn route<'a>(&'a self, head: &Head<'a>) -> Route<'a> {
        self.router.route(head, &self.templates)
    }

    /// `/health`; a draining server may say so.
    pub fn health(&self, healthy: bool) -> Answer {
        self.templates.health(healthy)
    }

    /// `/sink-health` (5.6).
    pub fn sink_health(&self, healthy: bool) -> Answer {
        self.templates.health(healthy)
    }

    /// The body was too large (1.11).
    pub fn body_too_large(&self) -> Answer {
        self.templates.empty(413)
    }

    /// The request was not read in time (1.11).
    pub fn timed_out(&self) -> Answer {
        self.templates.text(408, "Response timed out")
    }

    /// The request ended before its body did.
    pub fn body_broken(&self) -> Answer {
        self.templates.empty(400)
    }

    /// The records could not be made durable: the client shall try again. Carries CORS headers, so that scripts see it.
    pub fn unavailable(&self, head: &Head<'_>) -> Answer {
        self.templates.unavailable(origin::allowed_origin(head))
    }

    /// Decides about a tracking request. `body` is empty for the pixel flavour; `now_ms` is the time after the body was read;
    /// `new_id` gives random UUIDs.
    pub fn track(
        &self,
        head: &Head<'_>,
        tracking: &Tracking<'_>,
        body: &[u8],
        now_ms: i64,
        new_id: &mut dyn FnMut() -> Uuid,
    ) -> Decision {
        let anonymous = head.first("SP-Anonymous").is_some();
        let request_cookies = self.cookies.read(head);
        let query = tracking.query.as_deref().unwrap_or("");
        let bouncing = self.bounce_name.as_deref().is_some_and(|name| form::names(query).any(|found| found == name));
        let (network_user_id, source) = if anonymous {
            (Cow::Borrowed(ANONYMOUS_ID), IdSource::Anonymous)
        } else if let Some(id) = form::first_value(query, "nuid") {
            (id, IdSource::Query)
        } else if let Some(id) = request_cookies.id {
            (id, IdSource::Cookie)
        } else if bouncing {
            (Cow::Borrowed(self.bounce_fallback.as_str()), IdSource::BounceFallback)
        } else {
            (Cow::Owned(new_id().to_string()), IdSource::Fresh)
        };

        let bounce = self.bounce_name.as_deref().filter(|_| {
            source == IdSource::Fresh && !bouncing && tracking.flavour == Flavour::Pixel && !tracking.redirect
        });
        let mut answer = if let Some(name) = bounce {
            let mut answer = self.templates.empty(302);
            let scheme = self.bounce_protocol_header.as_deref().and_then(|header| head.first(header));
            answer.push("Location", bounce::location(head.target, name, scheme));
            answer
        } else if tracking.redirect {
            self.redirects.answer(&self.templates, query, &network_user_id)
        } else {
            self.templates.tracked(tracking.flavour)
        };
        if !request_cookies.do_not_track {
            self.cookies.write(&mut answer, head, &network_user_id, source, request_cookies.had_id, now_ms);
        }
        if tracking.flavour == Flavour::Pixel {
            answer.push_static("Cache-Control", "no-cache, no-store, must-revalidate");
        }
        answer.push_origin(origin::allowed_origin(head));
        answer.push_static("Access-Control-Allow-Credentials", "true");

        let mut decision = Decision { answer, good: Vec::new(), bad: Vec::new() };
        if bounce.is_none() && !request_cookies.do_not_track {
            self.recorder.record(head, tracking, body, &network_user_id, anonymous, now_ms, new_id, &mut decision);
        }
        decision
    }
}
