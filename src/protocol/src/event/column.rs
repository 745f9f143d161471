//! The 131 columns of the enriched event: order, names, kinds and length limits (enrich-core 4.1).

/// What a column's text means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Any text without tabs and line breaks.
    Text,
    /// `yyyy-MM-dd HH:mm:ss.SSS`, UTC.
    Timestamp,
    /// A 32-bit integer in decimal digits.
    Int,
    /// `0` or `1`.
    Flag,
    /// An exact decimal (enrich-core 3.3).
    Decimal,
    /// A 32-bit float in its shortest form (enrich-core 4.2).
    Float,
    /// Compact JSON: an envelope of contexts or of an unstructured event.
    Json,
}

// One list gives the enum and the table, so that they can not disagree.
macro_rules! columns {
    ($($variant:ident $name:literal $kind:ident $limit:expr;)*) => {
        /// A column of the enriched event; the discriminant is its place in the TSV line.
        #[allow(missing_docs)] // a variant is documented by its column name
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum Column { $($variant,)* }

        impl Column {
            /// All columns in the order of the TSV line.
            pub const ALL: [Column; COLUMN_COUNT] = [$(Column::$variant,)*];
        }

        static TABLE: [Facts; COLUMN_COUNT] =
            [$(Facts { name: $name, kind: Kind::$kind, max_length: $limit },)*];
    };
}

/// How many columns an enriched event has.
pub const COLUMN_COUNT: usize = 131;

struct Facts {
    name: &'static str,
    kind: Kind,
    max_length: Option<u32>,
}

impl Column {
    /// The place of the column in the TSV line, 0 to 130.
    #[inline]
    pub const fn index(self) -> usize {
        self as usize
    }

    /// The column with this place, if there is one.
    pub fn from_index(index: usize) -> Option<Column> {
        Column::ALL.get(index).copied()
    }

    /// The column with this name (`app_id`), compared exactly. A walk over the table: for configuration, not for
    /// every event.
    pub fn from_name(name: &str) -> Option<Column> {
        let index = TABLE.iter().position(|facts| facts.name == name)?;
        Column::from_index(index)
    }

    /// The name of the column, as in the tables of the warehouse.
    #[inline]
    pub fn name(self) -> &'static str {
        TABLE[self.index()].name
    }

    /// What the text of the column means.
    #[inline]
    pub fn kind(self) -> Kind {
        TABLE[self.index()].kind
    }

    /// The default limit of the length check in UTF-16 units (enrich-core 4.4); 84 text columns have one.
    #[inline]
    pub fn max_length(self) -> Option<u32> {
        TABLE[self.index()].max_length
    }
}

columns! {
    AppId "app_id" Text Some(255);
    Platform "platform" Text Some(255);
    EtlTstamp "etl_tstamp" Timestamp None;
    CollectorTstamp "collector_tstamp" Timestamp None;
    DvceCreatedTstamp "dvce_created_tstamp" Timestamp None;
    Event "event" Text Some(128);
    EventId "event_id" Text Some(36);
    TxnId "txn_id" Int None;
    NameTracker "name_tracker" Text Some(128);
    VTracker "v_tracker" Text Some(100);
    VCollector "v_collector" Text Some(100);
    VEtl "v_etl" Text Some(100);
    UserId "user_id" Text Some(255);
    UserIpaddress "user_ipaddress" Text Some(128);
    UserFingerprint "user_fingerprint" Text Some(128);
    DomainUserid "domain_userid" Text Some(128);
    DomainSessionidx "domain_sessionidx" Int None;
    NetworkUserid "network_userid" Text Some(128);
    GeoCountry "geo_country" Text Some(2);
    GeoRegion "geo_region" Text Some(3);
    GeoCity "geo_city" Text Some(75);
    GeoZipcode "geo_zipcode" Text Some(15);
    GeoLatitude "geo_latitude" Float None;
    GeoLongitude "geo_longitude" Float None;
    GeoRegionName "geo_region_name" Text Some(100);
    IpIsp "ip_isp" Text Some(100);
    IpOrganization "ip_organization" Text Some(128);
    IpDomain "ip_domain" Text Some(128);
    IpNetspeed "ip_netspeed" Text Some(100);
    PageUrl "page_url" Text Some(10_000);
    PageTitle "page_title" Text Some(2_000);
    PageReferrer "page_referrer" Text Some(10_000);
    PageUrlscheme "page_urlscheme" Text Some(16);
    PageUrlhost "page_urlhost" Text Some(255);
    PageUrlport "page_urlport" Int None;
    PageUrlpath "page_urlpath" Text Some(3_000);
    PageUrlquery "page_urlquery" Text Some(6_000);
    PageUrlfragment "page_urlfragment" Text Some(3_000);
    RefrUrlscheme "refr_urlscheme" Text Some(16);
    RefrUrlhost "refr_urlhost" Text Some(255);
    RefrUrlport "refr_urlport" Int None;
    RefrUrlpath "refr_urlpath" Text Some(6_000);
    RefrUrlquery "refr_urlquery" Text Some(6_000);
    RefrUrlfragment "refr_urlfragment" Text Some(3_000);
    RefrMedium "refr_medium" Text Some(25);
    RefrSource "refr_source" Text Some(50);
    RefrTerm "refr_term" Text Some(255);
    MktMedium "mkt_medium" Text Some(255);
    MktSource "mkt_source" Text Some(255);
    MktTerm "mkt_term" Text Some(255);
    MktContent "mkt_content" Text Some(500);
    MktCampaign "mkt_campaign" Text Some(255);
    Contexts "contexts" Json None;
    SeCategory "se_category" Text Some(1_000);
    SeAction "se_action" Text Some(1_000);
    SeLabel "se_label" Text Some(4_096);
    SeProperty "se_property" Text Some(1_000);
    SeValue "se_value" Decimal None;
    UnstructEvent "unstruct_event" Json None;
    TrOrderid "tr_orderid" Text Some(255);
    TrAffiliation "tr_affiliation" Text Some(255);
    TrTotal "tr_total" Decimal None;
    TrTax "tr_tax" Decimal None;
    TrShipping "tr_shipping" Decimal None;
    TrCity "tr_city" Text Some(255);
    TrState "tr_state" Text Some(255);
    TrCountry "tr_country" Text Some(255);
    TiOrderid "ti_orderid" Text Some(255);
    TiSku "ti_sku" Text Some(255);
    TiName "ti_name" Text Some(255);
    TiCategory "ti_category" Text Some(255);
    TiPrice "ti_price" Decimal None;
    TiQuantity "ti_quantity" Int None;
    PpXoffsetMin "pp_xoffset_min" Int None;
    PpXoffsetMax "pp_xoffset_max" Int None;
    PpYoffsetMin "pp_yoffset_min" Int None;
    PpYoffsetMax "pp_yoffset_max" Int None;
    Useragent "useragent" Text Some(1_000);
    BrName "br_name" Text Some(50);
    BrFamily "br_family" Text Some(50);
    BrVersion "br_version" Text Some(50);
    BrType "br_type" Text Some(50);
    BrRenderengine "br_renderengine" Text Some(50);
    BrLang "br_lang" Text Some(255);
    BrFeaturesPdf "br_features_pdf" Flag None;
    BrFeaturesFlash "br_features_flash" Flag None;
    BrFeaturesJava "br_features_java" Flag None;
    BrFeaturesDirector "br_features_director" Flag None;
    BrFeaturesQuicktime "br_features_quicktime" Flag None;
    BrFeaturesRealplayer "br_features_realplayer" Flag None;
    BrFeaturesWindowsmedia "br_features_windowsmedia" Flag None;
    BrFeaturesGears "br_features_gears" Flag None;
    BrFeaturesSilverlight "br_features_silverlight" Flag None;
    BrCookies "br_cookies" Flag None;
    BrColordepth "br_colordepth" Text Some(12);
    BrViewwidth "br_viewwidth" Int None;
    BrViewheight "br_viewheight" Int None;
    OsName "os_name" Text Some(50);
    OsFamily "os_family" Text Some(50);
    OsManufacturer "os_manufacturer" Text Some(50);
    OsTimezone "os_timezone" Text Some(255);
    DvceType "dvce_type" Text Some(50);
    DvceIsmobile "dvce_ismobile" Flag None;
    DvceScreenwidth "dvce_screenwidth" Int None;
    DvceScreenheight "dvce_screenheight" Int None;
    DocCharset "doc_charset" Text Some(128);
    DocWidth "doc_width" Int None;
    DocHeight "doc_height" Int None;
    TrCurrency "tr_currency" Text Some(3);
    TrTotalBase "tr_total_base" Decimal None;
    TrTaxBase "tr_tax_base" Decimal None;
    TrShippingBase "tr_shipping_base" Decimal None;
    TiCurrency "ti_currency" Text Some(3);
    TiPriceBase "ti_price_base" Decimal None;
    BaseCurrency "base_currency" Text Some(3);
    GeoTimezone "geo_timezone" Text Some(64);
    MktClickid "mkt_clickid" Text Some(1_000);
    MktNetwork "mkt_network" Text Some(64);
    EtlTags "etl_tags" Text Some(500);
    DvceSentTstamp "dvce_sent_tstamp" Timestamp None;
    RefrDomainUserid "refr_domain_userid" Text Some(128);
    RefrDvceTstamp "refr_dvce_tstamp" Timestamp None;
    DerivedContexts "derived_contexts" Json None;
    DomainSessionid "domain_sessionid" Text Some(128);
    DerivedTstamp "derived_tstamp" Timestamp None;
    EventVendor "event_vendor" Text Some(1_000);
    EventName "event_name" Text Some(1_000);
    EventFormat "event_format" Text Some(128);
    EventVersion "event_version" Text Some(128);
    EventFingerprint "event_fingerprint" Text Some(128);
    TrueTstamp "true_tstamp" Timestamp None;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_stand_at_their_place_and_are_found_by_name() {
        for (index, column) in Column::ALL.into_iter().enumerate() {
            assert_eq!(column.index(), index);
            assert_eq!(Column::from_name(column.name()), Some(column));
            assert_eq!(Column::from_index(index), Some(column));
        }
        assert_eq!(Column::AppId.index(), 0);
        assert_eq!(Column::Contexts.index(), 52);
        assert_eq!(Column::TrueTstamp.index(), 130);
        assert_eq!(Column::from_index(COLUMN_COUNT), None);
        assert_eq!(Column::from_name("App_id"), None);
    }

    #[test]
    fn exactly_the_84_text_columns_with_a_limit_have_one() {
        let limited = Column::ALL.iter().filter(|column| column.max_length().is_some());
        assert_eq!(limited.clone().count(), 84);
        assert!(limited.clone().all(|column| column.kind() == Kind::Text));
        assert_eq!(Column::PageUrl.max_length(), Some(10_000));
        assert_eq!(Column::MktClickid.max_length(), Some(1_000));
        assert_eq!(Column::Contexts.max_length(), None);
    }
}
