//! The parameters of the tracker protocol and the columns they fill, as one table (enrich-core 3.4).

use snowmelt_protocol::event::Column;

/// How a parameter's text becomes a column (enrich-core 3.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Conversion {
    Event,
    Platform,
    Safe,
    Ip,
    Int,
    Decimal,
    Flag,
    Uuid,
    Timestamp,
    /// Two integers; the second goes to this column.
    Dimensions(Column),
    /// JSON, kept for validation.
    Text,
    /// Base64 of JSON, kept for validation.
    Base64,
}

/// When a parameter is applied, so that those which write one column have a fixed winner: the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Turn {
    /// Names that gave way to newer ones.
    First,
    Normal,
    /// `tnuid` beats `nuid`.
    Last,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Field {
    pub name: &'static str,
    pub column: Column,
    pub conversion: Conversion,
    pub turn: Turn,
}

/// A parameter of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FieldId(u8);

impl FieldId {
    /// How many parameters the table has.
    pub(crate) const COUNT: usize = FIELDS.len();

    /// All of them, in the order of the table.
    pub(crate) fn all() -> impl Iterator<Item = FieldId> {
        (0..FIELDS.len()).map(|at| FieldId(at as u8))
    }

    /// The row of a name that is in the table, found by the compiler.
    const fn of(name: &str) -> FieldId {
        let wanted = key(name.as_bytes());
        let mut at = 0;
        while at < KEYS.len() {
            if let Some(wanted) = wanted
                && wanted == KEYS[at]
            {
                return FieldId(at as u8);
            }
            at += 1;
        }
        panic!("no parameter of this name is in the table")
    }

    pub(crate) const UNSTRUCT: FieldId = FieldId::of("ue_pr");
    pub(crate) const UNSTRUCT_BASE64: FieldId = FieldId::of("ue_px");
    pub(crate) const CONTEXTS: FieldId = FieldId::of("co");
    pub(crate) const CONTEXTS_BASE64: FieldId = FieldId::of("cx");
    pub(crate) const TRACKER_NETWORK_USERID: FieldId = FieldId::of("tnuid");

    #[inline]
    pub(crate) fn index(self) -> usize {
        usize::from(self.0)
    }

    /// The row of the table.
    #[inline]
    pub(crate) fn field(self) -> &'static Field {
        &FIELDS[self.index()]
    }

    /// The parameter with this name, compared exactly.
    #[inline]
    pub(crate) fn from_name(name: &str) -> Option<FieldId> {
        let key = key(name.as_bytes())?;
        let mut slot = slot(key);
        loop {
            match SLOTS[slot] {
                EMPTY => return None,
                id if KEYS[id as usize] == key => return Some(FieldId(id)),
                _ => slot = (slot + 1) % SLOTS.len(),
            }
        }
    }
}

/// Names are at most seven bytes: one compares as a number that holds the bytes and the length.
const fn key(name: &[u8]) -> Option<u64> {
    if name.len() > 7 {
        return None;
    }
    let mut key = name.len() as u64;
    let mut at = 0;
    while at < name.len() {
        key = key << 8 | name[at] as u64;
        at += 1;
    }
    Some(key)
}

const fn slot(key: u64) -> usize {
    (key.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 55) as usize
}

const EMPTY: u8 = u8::MAX;

const KEYS: [u64; FIELDS.len()] = {
    let mut keys = [0; FIELDS.len()];
    let mut at = 0;
    while at < FIELDS.len() {
        keys[at] = match key(FIELDS[at].name.as_bytes()) {
            Some(key) => key,
            None => panic!("the name of a parameter is longer than seven bytes"),
        };
        at += 1;
    }
    keys
};

/// Open addressing over 512 slots, built by the compiler.
const SLOTS: [u8; 512] = {
    let mut slots = [EMPTY; 512];
    let mut at = 0;
    while at < KEYS.len() {
        let mut place = slot(KEYS[at]);
        while slots[place] != EMPTY {
            place = (place + 1) % slots.len();
        }
        slots[place] = at as u8;
        at += 1;
    }
    slots
};

const fn field(name: &'static str, column: Column, conversion: Conversion) -> Field {
    Field { name, column, conversion, turn: Turn::Normal }
}

const fn first(name: &'static str, column: Column, conversion: Conversion) -> Field {
    Field { name, column, conversion, turn: Turn::First }
}

pub(crate) static FIELDS: [Field; 75] = {
    use Column as C;
    use Conversion::{Base64, Decimal, Dimensions, Event, Flag, Int, Ip, Platform, Safe, Text, Timestamp, Uuid};
    [
        field("e", C::Event, Event),
        field("p", C::Platform, Platform),
        field("aid", C::AppId, Safe),
        field("tna", C::NameTracker, Safe),
        field("tv", C::VTracker, Safe),
        field("cv", C::VCollector, Safe),
        field("eid", C::EventId, Uuid),
        field("tid", C::TxnId, Int),
        field("uid", C::UserId, Safe),
        field("duid", C::DomainUserid, Safe),
        field("nuid", C::NetworkUserid, Safe),
        Field { turn: Turn::Last, ..field("tnuid", C::NetworkUserid, Safe) },
        field("sid", C::DomainSessionid, Uuid),
        field("vid", C::DomainSessionidx, Int),
        field("fp", C::UserFingerprint, Safe),
        field("ip", C::UserIpaddress, Ip),
        field("ua", C::Useragent, Safe),
        field("dtm", C::DvceCreatedTstamp, Timestamp),
        field("stm", C::DvceSentTstamp, Timestamp),
        field("ttm", C::TrueTstamp, Timestamp),
        field("lang", C::BrLang, Safe),
        field("cd", C::BrColordepth, Safe),
        field("tz", C::OsTimezone, Safe),
        field("cs", C::DocCharset, Safe),
        field("cookie", C::BrCookies, Flag),
        field("f_pdf", C::BrFeaturesPdf, Flag),
        field("f_fla", C::BrFeaturesFlash, Flag),
        field("f_java", C::BrFeaturesJava, Flag),
        field("f_dir", C::BrFeaturesDirector, Flag),
        field("f_qt", C::BrFeaturesQuicktime, Flag),
        field("f_realp", C::BrFeaturesRealplayer, Flag),
        field("f_wma", C::BrFeaturesWindowsmedia, Flag),
        field("f_gears", C::BrFeaturesGears, Flag),
        field("f_ag", C::BrFeaturesSilverlight, Flag),
        field("res", C::DvceScreenwidth, Dimensions(C::DvceScreenheight)),
        field("vp", C::BrViewwidth, Dimensions(C::BrViewheight)),
        field("ds", C::DocWidth, Dimensions(C::DocHeight)),
        field("url", C::PageUrl, Safe),
        field("refr", C::PageReferrer, Safe),
        field("page", C::PageTitle, Safe),
        field("se_ca", C::SeCategory, Safe),
        field("se_ac", C::SeAction, Safe),
        field("se_la", C::SeLabel, Safe),
        field("se_pr", C::SeProperty, Safe),
        field("se_va", C::SeValue, Decimal),
        first("ev_ca", C::SeCategory, Safe),
        first("ev_ac", C::SeAction, Safe),
        first("ev_la", C::SeLabel, Safe),
        first("ev_pr", C::SeProperty, Safe),
        first("ev_va", C::SeValue, Decimal),
        field("tr_id", C::TrOrderid, Safe),
        field("tr_af", C::TrAffiliation, Safe),
        field("tr_tt", C::TrTotal, Decimal),
        field("tr_tx", C::TrTax, Decimal),
        field("tr_sh", C::TrShipping, Decimal),
        field("tr_ci", C::TrCity, Safe),
        field("tr_st", C::TrState, Safe),
        field("tr_co", C::TrCountry, Safe),
        field("tr_cu", C::TrCurrency, Safe),
        field("ti_id", C::TiOrderid, Safe),
        field("ti_sk", C::TiSku, Safe),
        first("ti_na", C::TiName, Safe),
        field("ti_nm", C::TiName, Safe),
        field("ti_ca", C::TiCategory, Safe),
        field("ti_pr", C::TiPrice, Decimal),
        field("ti_qu", C::TiQuantity, Int),
        field("ti_cu", C::TiCurrency, Safe),
        field("pp_mix", C::PpXoffsetMin, Int),
        field("pp_max", C::PpXoffsetMax, Int),
        field("pp_miy", C::PpYoffsetMin, Int),
        field("pp_may", C::PpYoffsetMax, Int),
        first("ue_pr", C::UnstructEvent, Text),
        field("ue_px", C::UnstructEvent, Base64),
        first("co", C::Contexts, Text),
        field("cx", C::Contexts, Base64),
    ]
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_parameter_is_found_by_its_name_and_nothing_else_is() {
        for (index, field) in FIELDS.iter().enumerate() {
            assert_eq!(FieldId::from_name(field.name).map(FieldId::index), Some(index), "{}", field.name);
        }
        for name in ["", "E", "u", "ue_na", "mac", "cookies", "eventually", "e\0"] {
            assert_eq!(FieldId::from_name(name), None, "{name}");
        }
    }
}
