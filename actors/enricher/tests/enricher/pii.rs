//! Events about what was pseudonymised have a way of their own out.

use std::sync::Arc;
use std::time::Duration;

use snowmelt_enrich::enrichments::{Enrichment, Enrichments, Step, View};
use snowmelt_protocol::badrow::EnrichmentRef;
use snowmelt_protocol::event::{Column, EnrichedEvent};

use crate::server::Server;
use crate::support::{USER_ID, column, page_view, post, resolver, start};

/// Stands for the enrichment: pseudonymises the user id and tells the original one.
#[derive(Debug)]
struct Pseudonymise(EnrichmentRef);

impl Enrichment for Pseudonymise {
    fn step(&self) -> Step {
        Step::PiiPseudonymizer
    }

    fn id(&self) -> &EnrichmentRef {
        &self.0
    }

    fn enrich(&self, view: &mut View<'_>) {
        let Some(user) = view.event.get(Column::UserId).map(str::to_owned) else { return };
        let mut told = EnrichedEvent::new();
        told.set(Column::UserId, &user);
        view.emit_pii(told);
        view.event.set(Column::UserId, "hashed");
    }
}

fn pseudonymise() -> Enrichments {
    let id = EnrichmentRef { schema_key: "iglu:x".into(), identifier: "pii".into() };
    Enrichments::new(vec![Arc::new(Pseudonymise(id))])
}

fn batches() -> Vec<Vec<Vec<u8>>> {
    (0..4).map(|batch| (0..50).map(|n| post(&[page_view(&format!("{batch}/{n}")), page_view("x")])).collect()).collect()
}

#[actix::test]
async fn they_are_sent_in_order_each_with_its_origin_and_acknowledged() {
    let server = Server::start().await;
    let mut running = start(pseudonymise(), resolver(&server.address, 100), batches(), true);
    running.end(Duration::from_secs(60)).await;
    assert_eq!(running.counts(), (400, 0, 0));
    let users: Vec<String> = running.pii.lines().iter().map(|line| column(line, USER_ID).to_owned()).collect();
    let expected: Vec<String> =
        (0..4).flat_map(|batch| (0..50).flat_map(move |n| [format!("{batch}/{n}"), "x".to_owned()])).collect();
    assert_eq!(users, expected);
    assert!(running.good.lines().iter().all(|line| column(line, USER_ID) == "hashed"));
    let origins: Vec<_> = running.pii.get().iter().map(|entry| entry.origin.unwrap()).collect();
    assert!(origins.is_sorted_by(|a, b| a < b), "what is read again is stored once: origins grow");
    assert_eq!((origins[1].sequence.lo, origins[1].index), (1, 1));
}

#[actix::test]
async fn without_a_stream_for_them_they_are_dropped() {
    let server = Server::start().await;
    let mut running = start(pseudonymise(), resolver(&server.address, 100), batches(), false);
    running.end(Duration::from_secs(60)).await;
    assert_eq!((running.good.len(), running.pii.len()), (400, 0));
}
