//! One event through all phases: parameters and JSON, enrichments, output checks (enrich-core 5.1).

use std::borrow::Cow;

use bytes::Bytes;
use snowmelt_protocol::badrow::{EnrichmentFailures, EnrichmentMessage, SchemaViolations, ValidationReport};
use snowmelt_protocol::document::Document;
use snowmelt_protocol::event::{Column, EnrichedEvent};
use snowmelt_protocol::time;

use crate::base64;
use crate::convert::{self, Refusal};
use crate::enrich::Run;
use crate::enrichments::{self, Entity, Phase};
use crate::failed::{Reporter, Violation};
use crate::fields::{Field, FieldId, Turn};
use crate::fingerprints::Deferral;
use crate::ids::Purpose;
use crate::lengths;
use crate::outputs::OutRecord;
use crate::parameters::Parameters;
use crate::request::{Request, pairs_of};
use crate::validation::{CONTEXTS, Checker, Findings, Verdicts};

/// Memory for the work on one event.
#[derive(Debug, Default)]
pub(crate) struct EventScratch {
    event: EnrichedEvent,
    json: Document,
    decoded: Vec<u8>,
    verdicts: Verdicts,
    derived: Vec<Entity>,
    failures: Vec<EnrichmentMessage>,
    pii: Vec<EnrichedEvent>,
    deferral: Deferral,
    /// Findings of the first phase.
    input: Findings,
    /// Findings of the last phase.
    output: Findings,
}

impl EventScratch {
    fn clear(&mut self) {
        self.event.clear();
        self.derived.clear();
        self.failures.clear();
        self.pii.clear();
        self.input.clear();
        self.output.clear();
    }
}

/// What an enriched event that had to be cut says.
const EVENT_TOO_LARGE: &str = "Enriched event";

/// Enriches the event with these parameters. `place` is where it stands in its record: payload and event.
pub(crate) fn enrich(
    run: &mut Run<'_>,
    request: &Request<'_>,
    parameters: &Parameters<'_>,
    place: (u32, u32),
    checker: &mut Checker<'_>,
    memory: &mut EventScratch,
) {
    memory.clear();
    memory.deferral.begin(run.enrich.defers);
    read_parameters(run, request, parameters, place, memory);
    let unstruct_schema = read_json(parameters, checker, memory);

    let EventScratch { event, derived, failures, pii, deferral, .. } = &mut *memory;
    enrichments::run(
        &run.enrich.enrichments,
        Phase {
            event,
            parameters,
            headers: &request.source.headers,
            referer_header: request.source.referer_uri.as_deref(),
            unstruct_schema: unstruct_schema.as_ref(),
            derived,
            failures,
            pii,
            deferral,
        },
    );
    check_output(run, checker, memory);
    emit(run, request, parameters, memory);
}

/// Phase 1, columns: initial values, then every parameter that the table knows (enrich-core 3.1).
fn read_parameters(
    run: &Run<'_>,
    request: &Request<'_>,
    parameters: &Parameters<'_>,
    (payload, nth): (u32, u32),
    memory: &mut EventScratch,
) {
    let EventScratch { event, input, .. } = memory;
    let source = &request.source;
    let mut faults = Vec::new();
    if let Some(collector) = &source.collector {
        convert::set_line(event, Column::VCollector, collector);
    }
    event.set(Column::VEtl, &run.enrich.v_etl);
    event.set_millis(Column::EtlTstamp, run.now_millis());
    event.set_or_unset(Column::NetworkUserid, source.network_userid.as_deref());
    if let Some(address) = &source.ip_address {
        convert::set_ip(event, address);
    }
    if let Some(agent) = &source.user_agent {
        convert::set_line(event, Column::Useragent, agent);
    }
    if convert::is_storable(source.timestamp_millis) {
        event.set_millis(Column::CollectorTstamp, source.timestamp_millis);
    } else {
        let mut formatted = String::new();
        time::write_tsv(source.timestamp_millis, &mut formatted);
        let message = format!("Formatted as {formatted} is not Redshift-compatible").into();
        faults.push(fault("collector_tstamp", &formatted, message));
    }

    let mut apply = |event: &mut EnrichedEvent, field: &'static Field, text: &str| {
        if let Err(message) = convert::apply(event, field, text) {
            faults.push(fault(field.name, text, message));
        }
    };
    let mut older_names = false;
    for (id, text) in parameters.known() {
        let field = id.field();
        match field.turn {
            Turn::Normal => apply(event, field, text),
            Turn::First => older_names = true,
            Turn::Last => {}
        }
    }
    if let Some(text) = parameters.value_of(FieldId::TRACKER_NETWORK_USERID) {
        apply(event, FieldId::TRACKER_NETWORK_USERID.field(), text);
    }
    if older_names {
        // An older name counts where the newer one gave nothing.
        for (id, text) in parameters.known().filter(|(id, _)| id.field().turn == Turn::First) {
            if !event.is_set(id.field().column) {
                apply(event, id.field(), text);
            }
        }
    }
    if !event.is_set(Column::EventId) {
        let id = run.cx.seed.uuid(Purpose::EventId, payload, nth);
        event.set(Column::EventId, id.hyphenated().encode_lower(&mut [0; 36]));
    }
    if !faults.is_empty() {
        input.violations.push(Violation::atomic(faults));
    }
}

fn fault(name: &'static str, value: &str, message: Refusal) -> (&'static str, Option<String>, ValidationReport) {
    let report = ValidationReport {
        message,
        path: Some(name.into()),
        keyword: Some("atomic_field_parse_error".into()),
        targets: Vec::new(),
    };
    (name, Some(value.to_owned()), report)
}

/// Phase 1, JSON: the unstruct event, then the contexts. Gives the schema that names the event.
fn read_json(
    parameters: &Parameters<'_>,
    checker: &mut Checker<'_>,
    memory: &mut EventScratch,
) -> Option<snowmelt_iglu::SchemaKey> {
    let EventScratch { event, json, decoded, input, .. } = memory;
    let unstruct = text_of(parameters, FieldId::UNSTRUCT_BASE64, FieldId::UNSTRUCT, decoded);
    let schema = unstruct.and_then(|text| checker.unstruct(&text, json, event, input));
    if let Some(text) = text_of(parameters, FieldId::CONTEXTS_BASE64, FieldId::CONTEXTS, decoded) {
        checker.contexts(&text, json, event, input);
    }
    schema
}

/// JSON of a pair of parameters, of which the encoded one counts.
fn text_of<'p>(
    parameters: &'p Parameters<'_>,
    encoded: FieldId,
    plain: FieldId,
    decoded: &'p mut Vec<u8>,
) -> Option<Cow<'p, str>> {
    match parameters.value_of(encoded) {
        Some(text) => Some(base64::decode(text, decoded)),
        None => parameters.value_of(plain).map(Cow::Borrowed),
    }
}

/// Phase 3: derived contexts and lengths.
fn check_output(run: &mut Run<'_>, checker: &mut Checker<'_>, memory: &mut EventScratch) {
    let EventScratch { event, json, derived, output, verdicts, .. } = memory;
    derived.retain_mut(|entity| match checker.derived(entity, json, output, verdicts) {
        Some(schema) => {
            entity.schema = schema;
            true
        }
        None => false,
    });
    let config = &run.enrich.config;
    let exceeded = config.limits.exceeded(event);
    if exceeded.is_empty() {
        return;
    }
    if config.accept_invalid {
        run.out.counts.invalid_enriched += 1;
    } else {
        let fault = |&(column, limit): &(Column, u32)| {
            (column.name(), event.get(column).map(str::to_owned), lengths::report(column, limit))
        };
        output.violations.push(Violation::atomic(exceeded.iter().map(fault).collect()));
    }
    if config.failed_output {
        for (column, _) in exceeded {
            if !lengths::KEPT.contains(&column) {
                event.unset(column);
            }
        }
    }
}

/// Puts out what became of the event.
fn emit(run: &mut Run<'_>, request: &Request<'_>, parameters: &Parameters<'_>, memory: &mut EventScratch) {
    write_derived(run, memory);
    let EventScratch { event, failures, pii, input, output, deferral, .. } = memory;
    let faultless = input.violations.is_empty() && failures.is_empty() && output.violations.is_empty();
    let fits = event.tsv_len() <= run.enrich.config.max_record_bytes;
    if faultless && fits {
        let record = out_record(run, event);
        run.out.good.push(record);
        run.fingerprints.put_off(deferral, event, &mut run.out.good);
        return pii.iter().for_each(|event| emit_pii(run, event));
    }
    deferral.settle(event);
    if faultless {
        let mut line = String::new();
        event.write_tsv(&mut line);
        run.trim(&mut line, EVENT_TOO_LARGE);
        return run.bad(line);
    }
    let pairs = pairs_of(parameters);
    let raw = &request.to_raw_event_object(&pairs);
    let (processor, timestamp_millis) = (&run.enrich.config.processor, run.now_millis());
    let mut line = String::new();
    // Only the first phase with errors speaks.
    if input.violations.is_empty() && !failures.is_empty() {
        EnrichmentFailures { processor, timestamp_millis, messages: failures, enriched: event, raw }.write(&mut line);
    } else {
        let found = if input.violations.is_empty() { &output.violations } else { &input.violations };
        let messages: Vec<_> = found.iter().map(|violation| violation.message.clone()).collect();
        SchemaViolations { processor, timestamp_millis, messages: &messages, enriched: event, raw }.write(&mut line);
    }
    run.bad(line);
    if run.enrich.config.failed_output {
        // A failed event that is too large is left out: its bad row was sent.
        if fits {
            let record = out_record(run, event);
            run.out.failed.push(record);
        }
    }
}

/// Puts out an event about what was pseudonymised in a good one.
fn emit_pii(run: &mut Run<'_>, event: &EnrichedEvent) {
    if event.tsv_len() > run.enrich.config.max_record_bytes {
        return run.too_large_pii(event.tsv_len());
    }
    let record = out_record(run, event);
    run.out.pii.push(record);
}

fn out_record(run: &mut Run<'_>, event: &EnrichedEvent) -> OutRecord {
    let own = run.enrich.config.partition_key.and_then(|column| event.get(column)).filter(|key| !key.is_empty());
    let partition_key = own.map_or_else(|| Cow::Owned(run.random_key()), Cow::Borrowed).into_owned();
    OutRecord { partition_key, data: Bytes::from(event.to_tsv()) }
}

/// Sets derived_contexts: failures of all phases, entities of enrichments, superseded schemas.
fn write_derived(run: &Run<'_>, memory: &mut EventScratch) {
    let EventScratch { event, derived, failures, input, output, .. } = memory;
    let reporter = Reporter { processor: &run.enrich.config.processor, now_millis: run.now_millis() };
    let any = event.set_with(Column::DerivedContexts, |out| {
        out.push_str("{\"schema\":\"");
        out.push_str(CONTEXTS);
        out.push_str("\",\"data\":[");
        let start = out.len();
        let mut next = |write: &mut dyn FnMut(&mut String)| {
            if out.len() > start {
                out.push(',');
            }
            write(out);
        };
        input.violations.iter().for_each(|found| next(&mut |out| reporter.write_violation(found, out)));
        failures.iter().for_each(|found| next(&mut |out| reporter.write_enrichment(found, out)));
        output.violations.iter().for_each(|found| next(&mut |out| reporter.write_violation(found, out)));
        derived.iter().for_each(|entity| next(&mut |out| entity.write(out)));
        let earlier = &input.superseded;
        let later = output.superseded.iter().filter(|found| !earlier.contains(found));
        earlier.iter().chain(later).for_each(|found| next(&mut |out| found.write(out)));
        let any = out.len() > start;
        out.push_str("]}");
        any
    });
    if !any {
        event.unset(Column::DerivedContexts);
    }
}
