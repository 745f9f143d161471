//! ip_lookups: place, provider, domain and connection of the user's address from MaxMind databases (enrichments 5.12).
//!
//! Names are never resolved: a text that is no address is simply not found. Nothing here fails an event.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use bytes::Bytes;
use maxminddb::Reader;
use serde::Deserialize;
use serde::de::{Deserializer, SeqAccess, Visitor};
use snowmelt_iglu::SchemaKey;
use snowmelt_protocol::badrow::EnrichmentRef;
use snowmelt_protocol::event::Column;
use snowmelt_protocol::json::write_string;

use super::{Assets, ConfigDocument, ConfigError, Enrichment, Settings, Step, View};

type Database = Reader<Bytes>;

/// The databases that are configured.
pub(super) struct IpLookups {
    id: EnrichmentRef,
    geo: Option<Database>,
    isp: Option<Database>,
    domain: Option<Database>,
    connection_type: Option<Database>,
    asn: Option<Database>,
    asn_schema: SchemaKey,
}

/// Names of the databases in the configuration.
const DATABASES: [&str; 5] = ["geo", "isp", "domain", "connectionType", "asn"];

const ASN_SCHEMA: &str = "iglu:com.snowplowanalytics.snowplow/asn/jsonschema/1-0-1";

impl IpLookups {
    pub(super) fn assets(document: &ConfigDocument) -> Result<Vec<String>, ConfigError> {
        let settings = document.settings();
        let mut uris = Vec::new();
        for name in DATABASES {
            uris.extend(database_uri(&settings, name)?);
        }
        Ok(uris)
    }

    pub(super) fn build(document: &ConfigDocument, assets: &Assets) -> Result<Arc<dyn Enrichment>, ConfigError> {
        Ok(Arc::new(Self::new(document.id("ip-lookups"), document.settings(), assets)?))
    }

    fn new(id: EnrichmentRef, settings: Settings<'_>, assets: &Assets) -> Result<Self, ConfigError> {
        let open = |name| match database_uri(&settings, name)? {
            None => Ok(None),
            Some(uri) => {
                let reader = Reader::from_source(assets.get(&uri)?.clone());
                reader.map(Some).map_err(|error| ConfigError::Asset { uri, reason: error.to_string() })
            }
        };
        let [geo, isp, domain, connection_type, asn] = DATABASES;
        Ok(IpLookups {
            id,
            geo: open(geo)?,
            isp: open(isp)?,
            domain: open(domain)?,
            connection_type: open(connection_type)?,
            asn: open(asn)?,
            asn_schema: ASN_SCHEMA.parse()?,
        })
    }
}

fn database_uri(settings: &Settings<'_>, name: &str) -> Result<Option<String>, ConfigError> {
    if settings.member(name).is_none() {
        return Ok(None);
    }
    let database = settings.object(name)?;
    Ok(Some(Settings::asset_uri(database.text("uri")?, database.text("database")?)))
}

impl fmt::Debug for IpLookups {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let built = |database: &Option<Database>| database.as_ref().map(|reader| reader.metadata().build_epoch);
        f.debug_struct("IpLookups")
            .field("geo", &built(&self.geo))
            .field("isp", &built(&self.isp))
            .field("domain", &built(&self.domain))
            .field("connection_type", &built(&self.connection_type))
            .field("asn", &built(&self.asn))
            .finish_non_exhaustive()
    }
}

/// The part of a City record that becomes columns.
#[derive(Deserialize, Default)]
#[serde(default)]
struct Geo<'a> {
    #[serde(borrow)]
    city: Named<'a>,
    #[serde(borrow)]
    country: Coded<'a>,
    #[serde(borrow)]
    location: Location<'a>,
    #[serde(borrow)]
    postal: Postal<'a>,
    #[serde(borrow, rename = "subdivisions", deserialize_with = "last")]
    subdivision: Subdivision<'a>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Names<'a> {
    en: Option<&'a str>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Named<'a> {
    #[serde(borrow)]
    names: Names<'a>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Coded<'a> {
    iso_code: Option<&'a str>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Subdivision<'a> {
    iso_code: Option<&'a str>,
    #[serde(borrow)]
    names: Names<'a>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Location<'a> {
    latitude: Option<f64>,
    longitude: Option<f64>,
    time_zone: Option<&'a str>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Postal<'a> {
    code: Option<&'a str>,
}

/// Subdivisions go from the largest to the smallest: the last is the most specific.
fn last<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Subdivision<'de>, D::Error> {
    struct Last;
    impl<'de> Visitor<'de> for Last {
        type Value = Subdivision<'de>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a list of subdivisions")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
            let mut last = Subdivision::default();
            while let Some(next) = list.next_element()? {
                last = next;
            }
            Ok(last)
        }
    }
    deserializer.deserialize_seq(Last)
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Provider<'a> {
    isp: Option<&'a str>,
    organization: Option<&'a str>,
    autonomous_system_number: Option<u32>,
    autonomous_system_organization: Option<&'a str>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Domain<'a> {
    domain: Option<&'a str>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct ConnectionType<'a> {
    connection_type: Option<&'a str>,
}

/// The record of an address; `None` when there is none or it cannot be read.
fn find<'d, T: Deserialize<'d>>(database: &'d Option<Database>, address: IpAddr) -> Option<T> {
    database.as_ref()?.lookup(address).ok()?.decode().ok()?
}

/// The address of a text: a literal, perhaps in brackets, perhaps with a port. A mapped address counts as IPv4.
pub(super) fn address_of(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    let address = bare.parse().or_else(|_| text.parse().map(|address: SocketAddr| address.ip())).ok()?;
    Some(IpAddr::to_canonical(&address))
}

impl Enrichment for IpLookups {
    fn step(&self) -> Step {
        Step::IpLookups
    }

    fn id(&self) -> &EnrichmentRef {
        &self.id
    }

    fn reads_fingerprint(&self) -> bool {
        false
    }

    fn enrich(&self, view: &mut View<'_>) {
        let Some(address) = view.event.get(Column::UserIpaddress).and_then(address_of) else { return };
        let event = &mut *view.event;
        if let Some(geo) = find::<Geo<'_>>(&self.geo, address) {
            event.set_or_unset(Column::GeoCountry, geo.country.iso_code);
            event.set_or_unset(Column::GeoRegion, geo.subdivision.iso_code);
            event.set_or_unset(Column::GeoRegionName, geo.subdivision.names.en);
            event.set_or_unset(Column::GeoCity, geo.city.names.en);
            event.set_or_unset(Column::GeoZipcode, geo.postal.code);
            event.set_or_unset(Column::GeoTimezone, geo.location.time_zone);
            event.set_float(Column::GeoLatitude, geo.location.latitude.unwrap_or_default() as f32);
            event.set_float(Column::GeoLongitude, geo.location.longitude.unwrap_or_default() as f32);
        }
        let provider = find::<Provider<'_>>(&self.isp, address);
        if let Some(provider) = &provider {
            event.set_or_unset(Column::IpIsp, provider.isp);
            event.set_or_unset(Column::IpOrganization, provider.organization);
        }
        if let Some(Domain { domain: Some(domain) }) = find(&self.domain, address) {
            event.set(Column::IpDomain, domain);
        }
        if let Some(ConnectionType { connection_type: Some(kind) }) = find(&self.connection_type, address) {
            event.set(Column::IpNetspeed, kind);
        }
        let numbered = |provider: &Provider<'_>| provider.autonomous_system_number.is_some();
        let system = provider.filter(numbered).or_else(|| find::<Provider<'_>>(&self.asn, address).filter(numbered));
        if let Some(Provider { autonomous_system_number: Some(number), autonomous_system_organization, .. }) = system {
            let mut data = format!("{{\"number\":{number}");
            if let Some(organization) = autonomous_system_organization {
                data.push_str(",\"organization\":");
                write_string(organization, &mut data);
            }
            data.push('}');
            view.add_entity(self.asn_schema.clone(), data);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_found_in_brackets_and_before_ports() {
        let v4: IpAddr = "203.0.113.7".parse().unwrap();
        let v6: IpAddr = "2001:db8::1".parse().unwrap();
        for text in ["203.0.113.7", "203.0.113.7:8080", "[203.0.113.7]", "::ffff:203.0.113.7"] {
            assert_eq!(address_of(text), Some(v4), "{text}");
        }
        for text in ["2001:db8::1", "[2001:db8::1]", "[2001:db8::1]:443"] {
            assert_eq!(address_of(text), Some(v6), "{text}");
        }
        for text in ["", "localhost", "unknown", "203.0.113", "203.0.113.7 "] {
            assert_eq!(address_of(text), None, "{text}");
        }
    }
}
