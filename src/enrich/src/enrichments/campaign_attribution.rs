//! campaign_attribution: marketing columns from the page URL's query string (enrichments 5.5).

use std::sync::Arc;

use snowmelt_protocol::badrow::EnrichmentRef;
use snowmelt_protocol::event::Column;

use super::{Assets, ConfigDocument, ConfigError, Enrichment, Settings, Step, View};
use crate::convert;
use crate::parameters::Pair;

/// Which parameters name the campaign, and which carry a network's click id.
#[derive(Debug)]
pub(super) struct CampaignAttribution {
    id: EnrichmentRef,
    /// Parameter names of each column in order of preference.
    fields: Vec<(Column, Vec<String>)>,
    /// Parameter and network in order of preference.
    click_ids: Vec<(String, String)>,
}

const FIELDS: [(&str, Column); 5] = [
    ("mktMedium", Column::MktMedium),
    ("mktSource", Column::MktSource),
    ("mktTerm", Column::MktTerm),
    ("mktContent", Column::MktContent),
    ("mktCampaign", Column::MktCampaign),
];

const CLICK_IDS: [(&str, &str); 3] = [("gclid", "Google"), ("msclkid", "Microsoft"), ("dclid", "DoubleClick")];

impl CampaignAttribution {
    pub(super) fn build(document: &ConfigDocument, _: &Assets) -> Result<Arc<dyn Enrichment>, ConfigError> {
        Ok(Arc::new(Self::new(document.id("campaign-attribution"), document.settings())?))
    }

    fn new(id: EnrichmentRef, settings: Settings<'_>) -> Result<Self, ConfigError> {
        let settings = settings.object("fields")?;
        let mut fields = Vec::with_capacity(FIELDS.len());
        for (name, column) in FIELDS {
            fields.push((column, settings.texts(name)?.into_iter().map(str::to_owned).collect()));
        }
        let mut click_ids: Vec<(String, String)> =
            CLICK_IDS.iter().map(|(parameter, network)| ((*parameter).to_owned(), (*network).to_owned())).collect();
        if let Some(custom) = settings.member("mktClickId") {
            let refuse = || settings.error("mktClickId", "Map[String, String]", format!("found {custom}"));
            for (parameter, network) in custom.as_object().ok_or_else(refuse)? {
                let network = network.as_str().ok_or_else(refuse)?.to_owned();
                match click_ids.iter_mut().find(|(known, _)| known == parameter) {
                    Some(entry) => entry.1 = network,
                    None => click_ids.push((parameter.clone(), network)),
                }
            }
        }
        Ok(CampaignAttribution { id, fields, click_ids })
    }
}

/// The last value of a name; a name without value has the empty text.
fn value_of<'q>(query: &'q [Pair<'_>], name: &str) -> Option<&'q str> {
    let (_, value) = query.iter().rev().find(|(candidate, _)| candidate == name)?;
    Some(value.as_deref().unwrap_or_default())
}

impl Enrichment for CampaignAttribution {
    fn step(&self) -> Step {
        Step::CampaignAttribution
    }

    fn id(&self) -> &EnrichmentRef {
        &self.id
    }

    fn enrich(&self, view: &mut View<'_>) {
        let Some(query) = view.page_query else { return };
        for (column, names) in &self.fields {
            // The first name that is there counts, even with an empty value.
            let value = names.iter().find_map(|name| value_of(query, name));
            convert::set_safe(view.event, *column, value.unwrap_or_default());
        }
        let click = self.click_ids.iter().find_map(|(name, network)| Some((value_of(query, name)?, network.as_str())));
        let (id, network) = click.unwrap_or_default();
        convert::set_safe(view.event, Column::MktClickid, id);
        convert::set_safe(view.event, Column::MktNetwork, network);
    }
}
