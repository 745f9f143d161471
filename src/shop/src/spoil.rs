//! Turning a good event into a bad one of a given kind.

use crate::json::self_describing;
use crate::request::Draft;
use crate::{BadKind, EventKind, Expect};

/// The schema which events of [`BadKind::InvalidData`] break.
pub(crate) const INVALID_DATA_SCHEMA: &str = "iglu:com.snowmelt.shop/product_view/jsonschema/1-0-0";

/// One more than the column `se_action` takes.
const OVERLONG: usize = 1001;

/// Makes a draft bad, before it is sealed.
pub(crate) fn spoil(draft: &mut Draft, bad: BadKind) {
    draft.expect = Expect::Bad(bad);
    match bad {
        BadKind::UnknownSchema => {
            describe(
                draft,
                self_describing("iglu:com.snowmelt.shop/wishlist/jsonschema/1-0-0", |o| {
                    o.text("sku", "boot-hike-01");
                }),
            );
        }
        BadKind::InvalidData => {
            describe(
                draft,
                self_describing(INVALID_DATA_SCHEMA, |o| {
                    o.plain("sku", 42).text("colour", "green");
                }),
            );
        }
        BadKind::NotJson => describe(draft, r#"{"schema":"iglu:com.snowmelt.shop/product_v"#.to_owned()),
        BadKind::OverlongField => {
            become_kind(draft, EventKind::Structured);
            draft.put("se_ca", "cart").put("se_ac", "x".repeat(OVERLONG));
        }
        BadKind::UnknownEventType => draft.code = Some("teleport"),
        BadKind::NoEventType => draft.code = None,
        BadKind::UnknownPath => {}
        BadKind::BrokenPayload => draft.parameters.retain(|(name, _)| *name != "p"),
    }
}

/// Whether such an event can only be sent in a request of its own: it is the request that is wrong.
pub(crate) fn spoils_request(bad: BadKind) -> bool {
    matches!(bad, BadKind::NoEventType | BadKind::UnknownPath | BadKind::BrokenPayload)
}

fn describe(draft: &mut Draft, event: String) {
    become_kind(draft, EventKind::SelfDescribing);
    draft.self_describing = Some(event);
}

/// Leaves of the event only what every kind of event has.
fn become_kind(draft: &mut Draft, kind: EventKind) {
    draft.kind = kind;
    draft.code = Some(kind.code());
    draft.self_describing = None;
    let own = ["se_", "tr_", "ti_", "pp_"];
    draft.parameters.retain(|(name, _)| !own.iter().any(|prefix| name.starts_with(prefix)));
}
