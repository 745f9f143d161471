//! The table `events`: its 128 columns and its rows (spec postgres-loader, sections 3.1 and 4.1).

use std::sync::LazyLock;

use snowmelt_iglu::ddl::quote_if_needed;
use snowmelt_protocol::event::Column;

/// Name of the table in every database schema.
pub(crate) const EVENTS: &str = "events";

/// Name and definition of each column, in table order. `contexts`, `unstruct_event` and `derived_contexts` are not
/// stored here: they have tables of their own.
pub(crate) const EVENT_COLUMNS: [(&str, &str); 128] = [
    ("app_id", "VARCHAR(255)"),
    ("platform", "VARCHAR(255)"),
    ("etl_tstamp", "TIMESTAMP"),
    ("collector_tstamp", "TIMESTAMP NOT NULL"),
    ("dvce_created_tstamp", "TIMESTAMP"),
    ("event", "VARCHAR(128)"),
    ("event_id", "UUID NOT NULL"),
    ("txn_id", "INTEGER"),
    ("name_tracker", "VARCHAR(128)"),
    ("v_tracker", "VARCHAR(100)"),
    ("v_collector", "VARCHAR(100) NOT NULL"),
    ("v_etl", "VARCHAR(100) NOT NULL"),
    ("user_id", "VARCHAR(255)"),
    ("user_ipaddress", "VARCHAR(128)"),
    ("user_fingerprint", "VARCHAR(50)"),
    ("domain_userid", "VARCHAR(128)"),
    ("domain_sessionidx", "INTEGER"),
    ("network_userid", "VARCHAR(128)"),
    ("geo_country", "CHAR(2)"),
    ("geo_region", "CHAR(3)"),
    ("geo_city", "VARCHAR(75)"),
    ("geo_zipcode", "VARCHAR(15)"),
    ("geo_latitude", "DOUBLE PRECISION"),
    ("geo_longitude", "DOUBLE PRECISION"),
    ("geo_region_name", "VARCHAR(100)"),
    ("ip_isp", "VARCHAR(100)"),
    ("ip_organization", "VARCHAR(100)"),
    ("ip_domain", "VARCHAR(100)"),
    ("ip_netspeed", "VARCHAR(100)"),
    ("page_url", "VARCHAR(4096)"),
    ("page_title", "VARCHAR(2000)"),
    ("page_referrer", "VARCHAR(4096)"),
    ("page_urlscheme", "VARCHAR(16)"),
    ("page_urlhost", "VARCHAR(255)"),
    ("page_urlport", "INTEGER"),
    ("page_urlpath", "VARCHAR(3000)"),
    ("page_urlquery", "VARCHAR(6000)"),
    ("page_urlfragment", "VARCHAR(3000)"),
    ("refr_urlscheme", "VARCHAR(16)"),
    ("refr_urlhost", "VARCHAR(255)"),
    ("refr_urlport", "INTEGER"),
    ("refr_urlpath", "VARCHAR(6000)"),
    ("refr_urlquery", "VARCHAR(6000)"),
    ("refr_urlfragment", "VARCHAR(3000)"),
    ("refr_medium", "VARCHAR(25)"),
    ("refr_source", "VARCHAR(50)"),
    ("refr_term", "VARCHAR(255)"),
    ("mkt_medium", "VARCHAR(255)"),
    ("mkt_source", "VARCHAR(255)"),
    ("mkt_term", "VARCHAR(255)"),
    ("mkt_content", "VARCHAR(500)"),
    ("mkt_campaign", "VARCHAR(255)"),
    ("se_category", "VARCHAR(1000)"),
    ("se_action", "VARCHAR(1000)"),
    ("se_label", "VARCHAR(1000)"),
    ("se_property", "VARCHAR(1000)"),
    ("se_value", "DOUBLE PRECISION"),
    ("tr_orderid", "VARCHAR(255)"),
    ("tr_affiliation", "VARCHAR(255)"),
    ("tr_total", "DOUBLE PRECISION"),
    ("tr_tax", "DOUBLE PRECISION"),
    ("tr_shipping", "DOUBLE PRECISION"),
    ("tr_city", "VARCHAR(255)"),
    ("tr_state", "VARCHAR(255)"),
    ("tr_country", "VARCHAR(255)"),
    ("ti_orderid", "VARCHAR(255)"),
    ("ti_sku", "VARCHAR(255)"),
    ("ti_name", "VARCHAR(255)"),
    ("ti_category", "VARCHAR(255)"),
    ("ti_price", "DOUBLE PRECISION"),
    ("ti_quantity", "INTEGER"),
    ("pp_xoffset_min", "INTEGER"),
    ("pp_xoffset_max", "INTEGER"),
    ("pp_yoffset_min", "INTEGER"),
    ("pp_yoffset_max", "INTEGER"),
    ("useragent", "VARCHAR(1000)"),
    ("br_name", "VARCHAR(50)"),
    ("br_family", "VARCHAR(50)"),
    ("br_version", "VARCHAR(50)"),
    ("br_type", "VARCHAR(50)"),
    ("br_renderengine", "VARCHAR(50)"),
    ("br_lang", "VARCHAR(255)"),
    ("br_features_pdf", "BOOLEAN"),
    ("br_features_flash", "BOOLEAN"),
    ("br_features_java", "BOOLEAN"),
    ("br_features_director", "BOOLEAN"),
    ("br_features_quicktime", "BOOLEAN"),
    ("br_features_realplayer", "BOOLEAN"),
    ("br_features_windowsmedia", "BOOLEAN"),
    ("br_features_gears", "BOOLEAN"),
    ("br_features_silverlight", "BOOLEAN"),
    ("br_cookies", "BOOLEAN"),
    ("br_colordepth", "VARCHAR(12)"),
    ("br_viewwidth", "INTEGER"),
    ("br_viewheight", "INTEGER"),
    ("os_name", "VARCHAR(50)"),
    ("os_family", "VARCHAR(50)"),
    ("os_manufacturer", "VARCHAR(50)"),
    ("os_timezone", "VARCHAR(50)"),
    ("dvce_type", "VARCHAR(50)"),
    ("dvce_ismobile", "BOOLEAN"),
    ("dvce_screenwidth", "INTEGER"),
    ("dvce_screenheight", "INTEGER"),
    ("doc_charset", "VARCHAR(128)"),
    ("doc_width", "INTEGER"),
    ("doc_height", "INTEGER"),
    ("tr_currency", "CHAR(3)"),
    ("tr_total_base", "DOUBLE PRECISION"),
    ("tr_tax_base", "DOUBLE PRECISION"),
    ("tr_shipping_base", "DOUBLE PRECISION"),
    ("ti_currency", "CHAR(3)"),
    ("ti_price_base", "DOUBLE PRECISION"),
    ("base_currency", "CHAR(3)"),
    ("geo_timezone", "VARCHAR(64)"),
    ("mkt_clickid", "VARCHAR(128)"),
    ("mkt_network", "VARCHAR(64)"),
    ("etl_tags", "VARCHAR(500)"),
    ("dvce_sent_tstamp", "TIMESTAMP"),
    ("refr_domain_userid", "VARCHAR(128)"),
    ("refr_dvce_tstamp", "TIMESTAMP"),
    ("domain_sessionid", "VARCHAR(128)"),
    ("derived_tstamp", "TIMESTAMP"),
    ("event_vendor", "VARCHAR(1000)"),
    ("event_name", "VARCHAR(1000)"),
    ("event_format", "VARCHAR(128)"),
    ("event_version", "VARCHAR(128)"),
    ("event_fingerprint", "VARCHAR(128)"),
    ("true_tstamp", "TIMESTAMP"),
];

/// The TSV column of each entry of [`EVENT_COLUMNS`].
pub(crate) static EVENT_SOURCES: LazyLock<Vec<Column>> = LazyLock::new(|| {
    EVENT_COLUMNS.iter().map(|(name, _)| Column::from_name(name).expect("every column is one of the TSV's")).collect()
});

/// The statement that makes the table `events` in a database schema: that of the original, but harmless when the table
/// exists.
#[must_use]
pub fn create_events(schema: &str) -> String {
    let columns: Vec<String> = EVENT_COLUMNS.iter().map(|(name, definition)| format!("{name} {definition}")).collect();
    let schema = quote_if_needed(schema);
    format!("CREATE TABLE IF NOT EXISTS {schema}.{EVENTS} (\n{}\n) WITH (OIDS=FALSE)", columns.join(",\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_follow_the_tsv_without_the_three_json_ones() {
        let left_out = [Column::Contexts, Column::UnstructEvent, Column::DerivedContexts];
        let expected: Vec<Column> = Column::ALL.into_iter().filter(|column| !left_out.contains(column)).collect();
        assert_eq!(*EVENT_SOURCES, expected);
        assert!(
            create_events("atomic").starts_with("CREATE TABLE IF NOT EXISTS atomic.events (\napp_id VARCHAR(255),")
        );
    }
}
