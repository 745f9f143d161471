//! The enrichment phase: steps of the core and configured enrichments in the order of enrich-core 5.1.

use std::borrow::Cow;

use snowmelt_protocol::badrow::{EnrichmentMessage, EnrichmentRef};
use snowmelt_protocol::event::{Column, EnrichedEvent};

use super::{Enrichments, Entity, Step, View};
use crate::convert;
use crate::derived;
use crate::fingerprints::Deferral;
use crate::parameters::{Pair, Parameters};
use crate::querystring;
use crate::uri::{Uri, UriError};

/// What the phase works on.
pub(crate) struct Phase<'p> {
    pub event: &'p mut EnrichedEvent,
    pub parameters: &'p Parameters<'p>,
    pub headers: &'p [Cow<'p, str>],
    pub referer_header: Option<&'p str>,
    /// Schema of the unstruct event that was valid.
    pub unstruct_schema: Option<&'p snowmelt_iglu::SchemaKey>,
    pub derived: &'p mut Vec<Entity>,
    pub failures: &'p mut Vec<EnrichmentMessage>,
    /// Events about what was pseudonymised.
    pub pii: &'p mut Vec<EnrichedEvent>,
    pub deferral: &'p mut Deferral,
}

/// Runs everything; a failing step never keeps a later one from running.
pub(crate) fn run(enrichments: &Enrichments, phase: Phase<'_>) {
    let Phase { event, parameters, headers, referer_header, unstruct_schema, derived, failures, pii, deferral } = phase;
    if !event.is_set(Column::VCollector) {
        fail_input(failures, None, "v_collector", None, Cow::Borrowed("should be set"));
    }
    let page = page_url(event, referer_header, failures);
    derived::derive_tstamp(event);

    let page = page.as_ref();
    let (referrer_uri, page_query) = (None, None);
    let mut view =
        View { event, parameters, headers, page, referrer: referrer_uri, page_query, derived, failures, pii, deferral };
    run_steps(enrichments, &mut view, Step::Iab, Step::CurrencyConversion);

    let referrer = referrer(&mut view);
    view.referrer = referrer.as_ref();
    run_steps(enrichments, &mut view, Step::RefererParser, Step::RefererParser);

    let query: Option<Vec<Pair<'_>>> = page.map(|page| querystring::pairs(page.query().unwrap_or_default()));
    view.page_query = query.as_deref();
    run_steps(enrichments, &mut view, Step::CampaignAttribution, Step::CampaignAttribution);
    let cross_navigation = enrichments.at(Step::CrossNavigation).next().map(super::Enrichment::id);
    cross_domain(&mut view, cross_navigation);
    run_steps(enrichments, &mut view, Step::CrossNavigation, Step::Yauaa);

    if let Err(kind) = derived::name_event(view.event, unstruct_schema) {
        view.fail_input(None, "event", kind.as_deref(), derived::unknown_event(kind.as_deref()));
    }
    run_steps(enrichments, &mut view, Step::IpLookups, Step::EventSpec);
}

fn run_steps(enrichments: &Enrichments, view: &mut View<'_>, from: Step, to: Step) {
    for enrichment in enrichments.between(from, to) {
        enrichment.enrich(view);
    }
}

fn fail_input(
    failures: &mut Vec<EnrichmentMessage>,
    enrichment: Option<EnrichmentRef>,
    field: &'static str,
    value: Option<String>,
    expectation: Cow<'static, str>,
) {
    failures.insert(0, EnrichmentMessage::InputData { enrichment, field: field.into(), value, expectation });
}

/// Parses the page URL, taken from the parameter or else from the Referer header, and sets its columns.
fn page_url(
    event: &mut EnrichedEvent,
    referer_header: Option<&str>,
    failures: &mut Vec<EnrichmentMessage>,
) -> Option<Uri> {
    let parsed = Uri::parse(event.get(Column::PageUrl).or(referer_header)?);
    match parsed {
        Ok(uri) => {
            if event.get(Column::PageUrl) != Some(uri.as_str()) {
                convert::set_if_not_empty(event, Column::PageUrl, uri.as_str());
            }
            set_components(event, &uri, &PAGE);
            Some(uri)
        }
        Err(error) => {
            failures.insert(0, uri_failure(&error));
            None
        }
    }
}

fn uri_failure(error: &UriError) -> EnrichmentMessage {
    EnrichmentMessage::Simple { enrichment: None, error: error.to_string() }
}

/// Parses the referrer and sets its columns; the referrer itself stays as it is.
fn referrer(view: &mut View<'_>) -> Option<Uri> {
    match Uri::parse(view.event.get(Column::PageReferrer)?) {
        Ok(uri) => {
            set_components(view.event, &uri, &REFERRER);
            Some(uri)
        }
        Err(error) => {
            view.fail(uri_failure(&error));
            None
        }
    }
}

/// Columns of scheme, host, port, path, query, fragment.
type Components = [Column; 6];

const PAGE: Components = [
    Column::PageUrlscheme,
    Column::PageUrlhost,
    Column::PageUrlport,
    Column::PageUrlpath,
    Column::PageUrlquery,
    Column::PageUrlfragment,
];

const REFERRER: Components = [
    Column::RefrUrlscheme,
    Column::RefrUrlhost,
    Column::RefrUrlport,
    Column::RefrUrlpath,
    Column::RefrUrlquery,
    Column::RefrUrlfragment,
];

fn set_components(event: &mut EnrichedEvent, uri: &Uri, columns: &Components) {
    let [scheme, host, port, path, query, fragment] = *columns;
    event.set_or_unset(scheme, uri.scheme());
    event.set_or_unset(host, uri.host());
    event.set_int(port, i64::from(uri.port()));
    for (column, part) in [(path, uri.path()), (query, uri.query()), (fragment, uri.fragment())] {
        match part {
            Some(part) => convert::set_safe(event, column, part),
            None => event.unset(column),
        }
    }
}

/// Splits the `_sp` parameter of the page URL that a linking site left there (enrich-core 3.5).
fn cross_domain(view: &mut View<'_>, cross_navigation: Option<&EnrichmentRef>) {
    let Some(query) = view.page_query else { return };
    let Some((_, Some(link))) = query.iter().rev().find(|(name, _)| name == "_sp") else { return };
    let mut parts = link.split('.');
    let (user, time) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    if link.split('.').count() > CROSS_DOMAIN_PARTS {
        return;
    }
    if !user.is_empty() {
        convert::set_safe(view.event, Column::RefrDomainUserid, user);
    }
    if !time.is_empty()
        && let Err(expectation) = convert::set_timestamp(view.event, Column::RefrDvceTstamp, time)
    {
        view.fail_input(cross_navigation, "sp_dtm", Some(time), expectation);
    }
}

/// User id, time, session id, user, source, platform, reason.
const CROSS_DOMAIN_PARTS: usize = 7;
