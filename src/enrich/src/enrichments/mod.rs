//! The frame of the enrichments: what one sees of an event, what it may do, and the order in which they run
//! (enrich-core 5.1, enrichments 3).
//!
//! An enrichment is pure: it was built from its configuration document and its assets, and knows no clock, no network
//! and no other enrichment. Each stands in a file of its name; [`catalog`] is the table that finds it.

mod anon_ip;
mod campaign_attribution;
mod catalog;
mod config;
mod event_fingerprint;
mod ip_lookups;
mod referer_parser;
mod run;
mod shapes;
#[cfg(test)]
mod tests;
mod ua_parser;

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use snowmelt_iglu::SchemaKey;
use snowmelt_protocol::badrow::{EnrichmentMessage, EnrichmentRef};
use snowmelt_protocol::event::EnrichedEvent;

pub use config::{Assets, ConfigDocument, ConfigError, Settings};
pub(crate) use run::{Phase, run};

use crate::fingerprints::Deferral;
use crate::parameters::{Pair, Parameters};
use crate::uri::Uri;

/// Steps at which an enrichment can run, in running order. Steps of the core (page URL, derived timestamp, `_sp`,
/// event name) stand between them where `run` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs)] // a step is documented by the enrichment of its name
pub enum Step {
    Iab,
    UserAgentUtils,
    UaParser,
    CurrencyConversion,
    RefererParser,
    CampaignAttribution,
    CrossNavigation,
    EventFingerprint,
    CookieExtractor,
    HttpHeaderExtractor,
    Weather,
    Yauaa,
    IpLookups,
    AsnLookups,
    BotDetection,
    JavaScript,
    SqlQuery,
    ApiRequest,
    AnonIp,
    PiiPseudonymizer,
    EventSpec,
}

/// A configured enrichment.
pub trait Enrichment: Send + Sync + fmt::Debug {
    /// When it runs.
    fn step(&self) -> Step;

    /// Its configuration's identity, as failures show it.
    fn id(&self) -> &EnrichmentRef;

    /// Whether it may look at the event's fingerprint. If no enrichment after that does, fingerprints are worked out for several
    /// events at once, which is quicker.
    fn reads_fingerprint(&self) -> bool {
        true
    }

    /// Enriches one event. Runs after everything of an earlier step, whether or not that failed. Must not panic on
    /// any input; what goes wrong is told with [`View::fail`].
    fn enrich(&self, view: &mut View<'_>);
}

/// An entity that an enrichment attaches to the event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entity {
    /// Schema of the data.
    pub schema: SchemaKey,
    /// The data as compact JSON (enrich-core 4.2). Whoever attaches the same data to many events shares it between them:
    /// it is then validated once.
    pub data: Arc<str>,
}

impl Entity {
    /// Appends `{"schema":...,"data":...}`.
    pub(crate) fn write(&self, out: &mut String) {
        out.push_str("{\"schema\":\"");
        out.push_str(self.schema.uri());
        out.push_str("\",\"data\":");
        out.push_str(&self.data);
        out.push('}');
    }
}

/// What an enrichment sees of one event, and may change of it.
#[derive(Debug)]
pub struct View<'v> {
    /// The event as it is so far. JSON columns are not in it yet except `contexts` and `unstruct_event`.
    pub event: &'v mut EnrichedEvent,
    /// The event's raw parameters (enrich-core 2.2).
    pub parameters: &'v Parameters<'v>,
    /// Header lines of the request, `Name: value`, verbatim.
    pub headers: &'v [Cow<'v, str>],
    /// The parsed page URL; `None` when there is none or it cannot be read.
    pub page: Option<&'v Uri>,
    /// The parsed referrer; the same.
    pub referrer: Option<&'v Uri>,
    /// Query string of the page URL in order, decoded; `None` without a page URL (enrichments 4.3).
    pub page_query: Option<&'v [Pair<'v>]>,
    derived: &'v mut Vec<Entity>,
    failures: &'v mut Vec<EnrichmentMessage>,
    pii: &'v mut Vec<EnrichedEvent>,
    /// What sets the event's fingerprint, now or later.
    pub(crate) deferral: &'v mut Deferral,
}

impl<'v> View<'v> {
    /// Attaches an entity, in front of those of earlier steps.
    pub fn add_entity(&mut self, schema: SchemaKey, data: impl Into<Arc<str>>) {
        self.derived.insert(0, Entity { schema, data: data.into() });
    }

    /// Attaches entities in this order, in front of those of earlier steps.
    pub fn add_entities(&mut self, entities: impl IntoIterator<Item = Entity>) {
        self.derived.splice(0..0, entities);
    }

    /// Entities attached so far, newest step first.
    pub fn entities(&self) -> &[Entity] {
        self.derived
    }

    /// The same, for steps that rewrite them.
    pub fn entities_mut(&mut self) -> &mut Vec<Entity> {
        self.derived
    }

    /// Puts out an event of its own about what was pseudonymised in this one, for the stream of such events. It goes out
    /// with the event if that is good, else never: what is known of a bad event stands in its bad row.
    pub fn emit_pii(&mut self, event: EnrichedEvent) {
        self.pii.push(event);
    }

    /// Records a failure, in front of earlier ones. Entities stay as they are.
    pub fn fail(&mut self, message: EnrichmentMessage) {
        self.failures.insert(0, message);
    }

    /// Records that something failed, in an enrichment or (`None`) in a step of the core.
    pub fn fail_simple(&mut self, enrichment: Option<&EnrichmentRef>, error: impl Into<String>) {
        self.fail(EnrichmentMessage::Simple { enrichment: enrichment.cloned(), error: error.into() });
    }

    /// Records that a value of the event is not what it should be.
    pub fn fail_input(
        &mut self,
        enrichment: Option<&EnrichmentRef>,
        field: &'static str,
        value: Option<&str>,
        expectation: impl Into<Cow<'static, str>>,
    ) {
        let (enrichment, value) = (enrichment.cloned(), value.map(str::to_owned));
        let (field, expectation) = (field.into(), expectation.into());
        self.fail(EnrichmentMessage::InputData { enrichment, field, value, expectation });
    }

    /// The last value of a parameter of the page URL's query string; a parameter without value is the empty text.
    pub fn page_parameter(&self, name: &str) -> Option<&str> {
        let (_, value) = self.page_query?.iter().rev().find(|(candidate, _)| candidate == name)?;
        Some(value.as_deref().unwrap_or_default())
    }
}

/// The enrichments of a pipeline in running order.
#[derive(Debug, Clone, Default)]
pub struct Enrichments {
    ordered: Vec<Arc<dyn Enrichment>>,
}

impl Enrichments {
    /// Puts enrichments into running order; those of one step keep theirs.
    pub fn new(mut enrichments: Vec<Arc<dyn Enrichment>>) -> Self {
        enrichments.sort_by_key(|enrichment| enrichment.step());
        Enrichments { ordered: enrichments }
    }

    /// These and one more, behind those of its step.
    #[must_use]
    pub fn with(mut self, enrichment: Arc<dyn Enrichment>) -> Self {
        self.ordered.push(enrichment);
        Self::new(self.ordered)
    }

    /// Files that these documents need, as the URIs by which [`Enrichments::build`] looks them up in [`Assets`].
    pub fn assets(documents: &[ConfigDocument]) -> Result<Vec<String>, ConfigError> {
        catalog::assets(documents)
    }

    /// Builds what configuration documents ask for. Documents with `enabled: false` and of unknown names are left
    /// out; of two that configure the same enrichment the later counts, except scripts, which all stay.
    pub fn build(documents: &[ConfigDocument], assets: &Assets) -> Result<Self, ConfigError> {
        catalog::build(documents, assets).map(Self::new)
    }

    /// Whether a fingerprint, once set, is looked at.
    pub(crate) fn read_fingerprints(&self) -> bool {
        self.between(Step::EventFingerprint, Step::EventSpec).any(Enrichment::reads_fingerprint)
    }

    /// In running order.
    pub fn iter(&self) -> impl Iterator<Item = &dyn Enrichment> {
        self.ordered.iter().map(AsRef::as_ref)
    }

    /// Those of one step.
    pub(crate) fn at(&self, step: Step) -> impl Iterator<Item = &dyn Enrichment> {
        self.between(step, step)
    }

    /// Those from one step to another, both included.
    pub(crate) fn between(&self, from: Step, to: Step) -> impl Iterator<Item = &dyn Enrichment> {
        let start = self.ordered.partition_point(|enrichment| enrichment.step() < from);
        self.ordered[start..].iter().take_while(move |enrichment| enrichment.step() <= to).map(AsRef::as_ref)
    }
}
