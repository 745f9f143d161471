//! A visitor: who it is, how its tracker is set up, and what it does on each page of a session.

use crate::EventKind;
use crate::catalogue::{BROWSERS, Browser, CAMPAIGNS, PLACES, PRODUCTS, Place, Product, SEARCHES};
use crate::json::{Cents, self_describing};
use crate::request::Draft;

const SHOP: &str = "https://shop.example.com";

/// How a visitor's tracker sends.
#[derive(Clone, Copy)]
pub(crate) struct TrackerSetup {
    pub(crate) post: bool,
    pub(crate) base64: bool,
    pub(crate) version: &'static str,
    /// Trackers of an older release of the shop describe products with an older version of the schema.
    pub(crate) product_schema: &'static str,
}

/// What most trackers do.
pub(crate) const ENCODED_POST: TrackerSetup =
    TrackerSetup { post: true, base64: true, version: "js-4.10.1", product_schema: PRODUCT_NEW };

const SETUPS: [TrackerSetup; 4] = [
    ENCODED_POST,
    TrackerSetup { post: true, base64: false, version: "js-4.6.3", product_schema: PRODUCT_NEW },
    TrackerSetup { post: false, base64: true, version: "js-3.24.0", product_schema: PRODUCT_OLD },
    TrackerSetup { post: false, base64: false, version: "js-2.18.2", product_schema: PRODUCT_OLD },
];

const PRODUCT_OLD: &str = "iglu:com.snowmelt.shop/product/jsonschema/1-0-0";
const PRODUCT_NEW: &str = "iglu:com.snowmelt.shop/product/jsonschema/1-0-1";

/// One visitor and the session it is in.
pub(crate) struct Visitor {
    pub(crate) browser: &'static Browser,
    pub(crate) place: &'static Place,
    pub(crate) setup: TrackerSetup,
    pub(crate) ip: String,
    pub(crate) network_id: String,
    user_id: String,
    /// Set once it has logged in.
    customer: Option<Customer>,
    session: Session,
}

struct Customer {
    id: String,
    tier: &'static str,
    newsletter: bool,
    member_since: String,
}

struct Session {
    id: String,
    previous: Option<String>,
    index: u32,
    first_event: Option<String>,
    events: u32,
    step: Step,
    cart: Vec<(usize, u32)>,
    cart_id: String,
    /// The page before, which becomes the referrer of the next.
    last_url: String,
    page_id: String,
}

#[derive(Clone, Copy)]
enum Step {
    Landing,
    Listing,
    Product(usize),
    Cart,
    Checkout(u32),
    Receipt,
    Left,
}

impl Visitor {
    pub(crate) fn arrive(rng: &mut fastrand::Rng) -> Self {
        let place = &PLACES[rng.usize(..PLACES.len())];
        // The smaller of two draws: the front of the list is met more often.
        let browser = &BROWSERS[rng.usize(..BROWSERS.len()).min(rng.usize(..BROWSERS.len()))];
        Self {
            browser,
            place,
            setup: SETUPS[rng.usize(..SETUPS.len())],
            ip: format!("{}.{}", place.network, rng.u8(1..=254)),
            network_id: new_id(rng),
            user_id: new_id(rng),
            customer: rng.bool().then(|| Customer::draw(rng)),
            session: Session::begin(rng, 1, None),
        }
    }

    /// Whether the session is over.
    pub(crate) fn has_left(&self) -> bool {
        matches!(self.session.step, Step::Left)
    }

    /// Begins the next session of the same visitor.
    pub(crate) fn come_back(&mut self, rng: &mut fastrand::Rng) {
        let previous = std::mem::take(&mut self.session.id);
        self.session = Session::begin(rng, self.session.index + 1, Some(previous));
    }

    /// Visits one page and moves on: the events of the visit, in order; never none.
    pub(crate) fn visit(&mut self, rng: &mut fastrand::Rng) -> Vec<Draft> {
        self.session.page_id = new_id(rng);
        let mut drafts = Vec::with_capacity(8);
        self.session.step = match self.session.step {
            Step::Landing => self.land(rng, &mut drafts),
            Step::Listing => self.browse(rng, &mut drafts),
            Step::Product(product) => self.look_at(rng, product, &mut drafts),
            Step::Cart => self.check_cart(rng, &mut drafts),
            Step::Checkout(step) => self.check_out(rng, step, &mut drafts),
            Step::Receipt => self.buy(rng, &mut drafts),
            Step::Left => Step::Left,
        };
        for draft in &mut drafts {
            self.complete(rng, draft);
        }
        drafts
    }

    fn land(&mut self, rng: &mut fastrand::Rng, drafts: &mut Vec<Draft>) -> Step {
        let (referrer, query) = CAMPAIGNS[rng.usize(..CAMPAIGNS.len())];
        self.session.last_url = referrer.to_owned();
        drafts.push(self.page_view(&format!("/{query}"), "Snowmelt Outdoor – alles für draußen"));
        self.pings(rng, drafts);
        if rng.u8(..4) == 0 {
            drafts.push(structured("banner", "close", "newsletter", "modal", None));
        }
        Step::Listing
    }

    fn browse(&mut self, rng: &mut fastrand::Rng, drafts: &mut Vec<Draft>) -> Step {
        let product = rng.usize(..PRODUCTS.len());
        if rng.u8(..3) == 0 {
            let terms = SEARCHES[rng.usize(..SEARCHES.len())];
            drafts.push(self.page_view(&format!("/search?q={}", crate::request::encode(&terms.join(" "))), "Search"));
            drafts.push(unstruct("iglu:com.snowplowanalytics.snowplow/site_search/jsonschema/1-0-0", |o| {
                o.texts("terms", terms).plain("totalResults", rng.u32(1..40)).plain("pageResults", 12);
            }));
        } else {
            let category = PRODUCTS[product].category;
            drafts.push(self.page_view(&format!("/c/{category}?page={}", rng.u32(1..4)), category));
        }
        self.pings(rng, drafts);
        if rng.u8(..5) == 0 {
            return Step::Left;
        }
        let sku = PRODUCTS[product].sku;
        drafts.push(unstruct("iglu:com.snowplowanalytics.snowplow/link_click/jsonschema/1-0-1", |o| {
            o.text("targetUrl", &format!("{SHOP}/p/{sku}")).text("elementId", sku).texts("elementClasses", &["tile"]);
        }));
        Step::Product(product)
    }

    fn look_at(&mut self, rng: &mut fastrand::Rng, index: usize, drafts: &mut Vec<Draft>) -> Step {
        let product = &PRODUCTS[index];
        let entity = self.product_entity(product);
        drafts.push(self.page_view(&format!("/p/{}", product.sku), product.name).with(&entity));
        drafts.push(
            unstruct("iglu:com.snowmelt.shop/product_view/jsonschema/1-0-0", |o| {
                o.text("sku", product.sku).text("list", product.category);
            })
            .with(&entity),
        );
        self.pings(rng, drafts);
        match rng.u8(..10) {
            0..=2 => Step::Listing,
            3 => Step::Left,
            _ => {
                let quantity = rng.u32(1..=3);
                drafts.push(
                    unstruct("iglu:com.snowmelt.shop/add_to_cart/jsonschema/1-0-0", |o| {
                        o.text("sku", product.sku).plain("quantity", quantity);
                        o.cents("unit_price", product.price_cents).text("currency", "EUR");
                    })
                    .with(&entity),
                );
                drafts.push(structured("cart", "add", product.sku, product.category, Some(product.price_cents)));
                self.session.cart.push((index, quantity));
                if rng.bool() { Step::Cart } else { Step::Listing }
            }
        }
    }

    fn check_cart(&mut self, rng: &mut fastrand::Rng, drafts: &mut Vec<Draft>) -> Step {
        drafts.push(self.page_view("/cart", "Your cart").with(&self.cart_entity()));
        if self.session.cart.len() > 1 && rng.u8(..4) == 0 {
            let (index, quantity) = self.session.cart.swap_remove(0);
            drafts.push(
                unstruct("iglu:com.snowmelt.shop/remove_from_cart/jsonschema/1-0-0", |o| {
                    o.text("sku", PRODUCTS[index].sku).plain("quantity", quantity);
                })
                .with(&self.cart_entity()),
            );
        }
        self.pings(rng, drafts);
        match rng.u8(..10) {
            0 => Step::Left,
            1..=2 => Step::Listing,
            _ => Step::Checkout(1),
        }
    }

    fn check_out(&mut self, rng: &mut fastrand::Rng, step: u32, drafts: &mut Vec<Draft>) -> Step {
        let customer = self.customer.get_or_insert_with(|| Customer::draw(rng));
        let newsletter = customer.newsletter;
        drafts.push(self.page_view(&format!("/checkout/{step}"), "Checkout").with(&self.cart_entity()));
        drafts.push(
            unstruct("iglu:com.snowmelt.shop/checkout_step/jsonschema/1-0-0", |o| {
                o.plain("step", step).plain("newsletter", newsletter);
                match step {
                    1 => o.text("shipping", if rng.bool() { "standard" } else { "express" }),
                    _ => o.text("payment", ["card", "invoice", "twint"][rng.usize(..3)]),
                };
            })
            .with(&self.cart_entity()),
        );
        self.pings(rng, drafts);
        match (step, rng.u8(..10)) {
            (_, 0) => Step::Left,
            (1, _) => Step::Checkout(2),
            _ => Step::Receipt,
        }
    }

    fn buy(&mut self, rng: &mut fastrand::Rng, drafts: &mut Vec<Draft>) -> Step {
        let order = format!("O-{:08}", rng.u32(..100_000_000));
        let total = self.cart_cents();
        let cart = self.cart_entity();
        drafts.push(self.page_view(&format!("/thanks/{order}"), "Danke!").with(&cart));
        drafts.push(
            unstruct("iglu:com.snowmelt.shop/purchase/jsonschema/1-0-0", |o| {
                o.text("order_id", &order).cents("total", total).text("currency", "EUR");
                o.plain("items", self.session.cart.len());
            })
            .with(&cart),
        );
        let mut sale = Draft::new(EventKind::Transaction);
        sale.put("tr_id", &order).put("tr_af", "web").put("tr_tt", Cents(total)).put("tr_tx", Cents(total / 13));
        sale.put("tr_sh", Cents(590)).put("tr_ci", self.place.city).put("tr_st", self.place.state);
        sale.put("tr_co", self.place.country).put("tr_cu", "EUR");
        drafts.push(sale);
        for &(index, quantity) in &self.session.cart {
            let product = &PRODUCTS[index];
            let mut item = Draft::new(EventKind::TransactionItem);
            item.put("ti_id", &order).put("ti_sk", product.sku).put("ti_nm", product.name);
            item.put("ti_ca", product.category).put("ti_pr", Cents(product.price_cents));
            item.put("ti_qu", quantity).put("ti_cu", "EUR");
            drafts.push(item);
        }
        Step::Left
    }

    /// A page view, which becomes the visitor's current page.
    fn page_view(&mut self, path: &str, title: &str) -> Draft {
        let url = format!("{SHOP}{path}");
        let mut draft = Draft::new(EventKind::PageView);
        let referrer = std::mem::replace(&mut self.session.last_url, url);
        draft.put("page", title);
        if !referrer.is_empty() {
            draft.put("refr", referrer);
        }
        draft
    }

    fn pings(&self, rng: &mut fastrand::Rng, drafts: &mut Vec<Draft>) {
        for n in 0..rng.u32(..3) {
            let mut ping = Draft::new(EventKind::PagePing);
            ping.put("pp_mix", 0).put("pp_max", 0);
            ping.put("pp_miy", n * 200).put("pp_may", n * 200 + rng.u32(..900));
            drafts.push(ping);
        }
    }

    /// Adds what every event of the visitor carries.
    fn complete(&mut self, rng: &mut fastrand::Rng, draft: &mut Draft) {
        draft.event_id = new_id(rng);
        let (width, height) = self.browser.screen;
        draft.put("url", &self.session.last_url);
        draft
            .put("tv", self.setup.version)
            .put("tna", "shop")
            .put("p", if self.browser.mobile { "mob" } else { "web" });
        draft.put("duid", &self.user_id).put("sid", &self.session.id).put("vid", self.session.index);
        draft.put("lang", self.place.language).put("tz", self.place.timezone).put("cs", "UTF-8").put("cd", 24);
        draft.put("cookie", 1).put("res", format_args!("{width}x{height}"));
        draft.put("vp", format_args!("{width}x{}", height - 90)).put("ds", format_args!("{width}x{}", height * 3));

        self.session.events += 1;
        let first = &*self.session.first_event.get_or_insert_with(|| draft.event_id.clone());
        draft.entities.push(self_describing("iglu:com.snowplowanalytics.snowplow/web_page/jsonschema/1-0-0", |o| {
            o.text("id", &self.session.page_id);
        }));
        draft.entities.push(self_describing(
            "iglu:com.snowplowanalytics.snowplow/client_session/jsonschema/1-0-2",
            |o| {
                o.text("userId", &self.user_id).text("sessionId", &self.session.id);
                o.plain("sessionIndex", self.session.index).plain("eventIndex", self.session.events);
                match &self.session.previous {
                    Some(previous) => o.text("previousSessionId", previous),
                    None => o.plain("previousSessionId", "null"),
                };
                o.text("storageMechanism", "COOKIE_1").text("firstEventId", first);
            },
        ));
        if let Some(customer) = &self.customer {
            draft.put("uid", &customer.id);
            draft.entities.push(customer.entity());
        }
        if draft.kind == EventKind::PageView {
            draft.entities.push(page_timing(rng));
        }
    }

    fn product_entity(&self, product: &Product) -> String {
        let schema = self.setup.product_schema;
        self_describing(schema, |o| {
            o.text("sku", product.sku).text("name", product.name).text("category", product.category);
            o.cents("price", product.price_cents).text("currency", "EUR").texts("tags", product.tags);
            if schema == PRODUCT_NEW {
                o.plain("in_stock", !product.price_cents.is_multiple_of(7));
            }
        })
    }

    fn cart_entity(&self) -> String {
        self_describing("iglu:com.snowmelt.shop/cart/jsonschema/1-0-0", |o| {
            o.text("cart_id", &self.session.cart_id).plain("lines", self.session.cart.len());
            o.cents("total", self.cart_cents()).text("currency", "EUR");
        })
    }

    fn cart_cents(&self) -> u32 {
        self.session.cart.iter().map(|&(product, quantity)| PRODUCTS[product].price_cents * quantity).sum()
    }
}

impl Customer {
    fn draw(rng: &mut fastrand::Rng) -> Self {
        Self {
            id: format!("c-{:06}", rng.u32(..1_000_000)),
            tier: ["none", "silver", "gold"][rng.usize(..3)],
            newsletter: rng.bool(),
            member_since: format!("20{:02}-{:02}-{:02}", rng.u8(10..24), rng.u8(1..=12), rng.u8(1..=28)),
        }
    }

    fn entity(&self) -> String {
        self_describing("iglu:com.snowmelt.shop/customer/jsonschema/1-0-0", |o| {
            o.text("customer_id", &self.id).text("tier", self.tier).text("member_since", &self.member_since);
            o.plain("newsletter", self.newsletter);
        })
    }
}

impl Session {
    fn begin(rng: &mut fastrand::Rng, index: u32, previous: Option<String>) -> Self {
        Self {
            id: new_id(rng),
            previous,
            index,
            first_event: None,
            events: 0,
            step: Step::Landing,
            cart: Vec::new(),
            cart_id: new_id(rng),
            last_url: String::new(),
            page_id: String::new(),
        }
    }
}

fn structured(category: &str, action: &str, label: &str, property: &str, cents: Option<u32>) -> Draft {
    let mut draft = Draft::new(EventKind::Structured);
    draft.put("se_ca", category).put("se_ac", action).put("se_la", label).put("se_pr", property);
    if let Some(cents) = cents {
        draft.put("se_va", Cents(cents));
    }
    draft
}

fn unstruct(uri: &str, fill: impl FnOnce(&mut crate::json::Object<'_>)) -> Draft {
    let mut draft = Draft::new(EventKind::SelfDescribing);
    draft.self_describing = Some(self_describing(uri, fill));
    draft
}

/// How long the page took to load, as browsers measure it.
fn page_timing(rng: &mut fastrand::Rng) -> String {
    let response = rng.u32(40..600);
    let interactive = response + rng.u32(50..800);
    self_describing("iglu:org.w3/PerformanceNavigationTiming/jsonschema/1-0-0", |o| {
        o.text("entryType", "navigation").text("type", "navigate").text("nextHopProtocol", "h2");
        o.plain("redirectCount", 0).plain("fetchStart", 1.3).plain("requestStart", 12.5);
        o.plain("responseEnd", response).plain("domInteractive", interactive).plain("domComplete", interactive + 90);
        o.plain("transferSize", rng.u32(9_000..90_000)).plain("duration", interactive + 110);
    })
}

/// A random version-4 UUID as text.
pub(crate) fn new_id(rng: &mut fastrand::Rng) -> String {
    uuid::Builder::from_random_bytes(rng.u128(..).to_be_bytes()).into_uuid().to_string()
}
