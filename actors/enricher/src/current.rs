//! The enrichment in use, which can be exchanged while batches run.

use std::sync::Arc;

use arc_swap::ArcSwap;
use snowmelt_enrich::Enrich;

/// The enrichment in use. Clones share it. A batch takes it once and ends with what it took.
#[derive(Debug, Clone)]
pub struct Current(Arc<ArcSwap<Enrich>>);

impl Current {
    /// In use from now on.
    pub fn new(enrich: Enrich) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(enrich)))
    }

    /// What is in use now.
    pub fn load(&self) -> Arc<Enrich> {
        self.0.load_full()
    }

    /// Puts another in its place: batches that begin from now on use it. Waits for nobody.
    pub fn exchange(&self, enrich: Enrich) {
        self.0.store(Arc::new(enrich));
    }
}
