//! What the shop sells, and who comes: products, browsers, places and campaigns.

/// A product of the shop.
pub(crate) struct Product {
    pub(crate) sku: &'static str,
    pub(crate) name: &'static str,
    pub(crate) category: &'static str,
    pub(crate) price_cents: u32,
    pub(crate) tags: &'static [&'static str],
}

const fn product(
    sku: &'static str,
    name: &'static str,
    category: &'static str,
    price_cents: u32,
    tags: &'static [&'static str],
) -> Product {
    Product { sku, name, category, price_cents, tags }
}

/// Everything on the shelves.
pub(crate) const PRODUCTS: [Product; 20] = [
    product("boot-hike-01", "Gletscherstiefel \"Mönch\"", "boots", 21900, &["waterproof", "leather"]),
    product("boot-hike-02", "Valley boot", "boots", 13950, &["light"]),
    product("boot-snow-01", "Snow boot Håkon", "boots", 16900, &["warm", "waterproof"]),
    product("boot-kids-01", "Kids' boot Pip", "boots", 5990, &["kids"]),
    product("jack-down-01", "Down jacket Aiguille", "jackets", 34900, &["warm", "down"]),
    product("jack-rain-01", "Rain jacket Föhn", "jackets", 18900, &["waterproof"]),
    product("jack-wind-01", "Wind shell", "jackets", 8900, &["light"]),
    product("jack-kids-01", "Kids' rain jacket", "jackets", 4990, &["kids", "waterproof"]),
    product("tent-2p-01", "Tent for two", "tents", 42900, &["light"]),
    product("tent-4p-01", "Tent for four & a dog", "tents", 58900, &["family"]),
    product("tent-peg-01", "Tent pegs, 8 pieces", "tents", 1450, &[]),
    product("bag-sleep-01", "Sleeping bag −5 °C", "sleeping", 19900, &["down"]),
    product("bag-sleep-02", "Sleeping bag summer", "sleeping", 7900, &["light"]),
    product("mat-sleep-01", "Sleeping mat 東京", "sleeping", 8990, &[]),
    product("pack-day-01", "Day pack 22 l", "packs", 8450, &["light"]),
    product("pack-tour-01", "Touring pack 55 l", "packs", 22900, &[]),
    product("cook-gas-01", "Gas cooker", "cooking", 4900, &[]),
    product("cook-mug-01", "Enamel mug", "cooking", 1290, &["gift"]),
    product("lamp-head-01", "Head lamp", "light", 5490, &["gift"]),
    product("map-swiss-01", "Map 1:25 000", "maps", 2250, &["gift"]),
];

/// A browser as it shows itself.
pub(crate) struct Browser {
    pub(crate) user_agent: &'static str,
    pub(crate) screen: (u32, u32),
    pub(crate) mobile: bool,
}

const fn desktop(user_agent: &'static str, width: u32, height: u32) -> Browser {
    Browser { user_agent, screen: (width, height), mobile: false }
}

const fn phone(user_agent: &'static str, width: u32, height: u32) -> Browser {
    Browser { user_agent, screen: (width, height), mobile: true }
}

/// The browsers that come, the common ones first: visitors favour the front of the list.
pub(crate) const BROWSERS: [Browser; 14] = [
    phone(
        "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 Mobile/15E148 Safari/604.1",
        390,
        844,
    ),
    desktop(
        "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36",
        1920,
        1080,
    ),
    phone(
        "Mozilla/5.0 (Linux; Android 14; Pixel 8) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Mobile Safari/537.36",
        412,
        915,
    ),
    desktop(
        "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 Safari/605.1.15",
        1512,
        982,
    ),
    phone(
        "Mozilla/5.0 (Linux; Android 13; SM-A536B) AppleWebKit/537.36 (KHTML, like Gecko) SamsungBrowser/25.0 Chrome/121.0.0.0 Mobile Safari/537.36",
        360,
        800,
    ),
    desktop(
        "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36 Edg/126.0.0.0",
        2560,
        1440,
    ),
    desktop("Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:127.0) Gecko/20100101 Firefox/127.0", 1366, 768),
    desktop(
        "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/125.0.0.0 Safari/537.36",
        1440,
        900,
    ),
    desktop("Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0", 1920, 1200),
    phone(
        "Mozilla/5.0 (iPad; CPU OS 17_4 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.4 Mobile/15E148 Safari/604.1",
        820,
        1180,
    ),
    phone("Mozilla/5.0 (Android 14; Mobile; rv:127.0) Gecko/127.0 Firefox/127.0", 393, 851),
    desktop(
        "Mozilla/5.0 (X11; CrOS x86_64 14541.0.0) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/124.0.0.0 Safari/537.36",
        1366,
        768,
    ),
    desktop(
        "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/124.0.0.0 Safari/537.36 OPR/110.0.0.0",
        1536,
        864,
    ),
    desktop("Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)", 1024, 1024),
];

/// Where a visitor lives.
pub(crate) struct Place {
    pub(crate) language: &'static str,
    pub(crate) timezone: &'static str,
    pub(crate) city: &'static str,
    pub(crate) state: &'static str,
    pub(crate) country: &'static str,
    /// An address, or the first three bytes of addresses there.
    pub(crate) network: &'static str,
}

const fn place(
    language: &'static str,
    timezone: &'static str,
    city: &'static str,
    state: &'static str,
    country: &'static str,
    network: &'static str,
) -> Place {
    Place { language, timezone, city, state, country, network }
}

/// The places; their networks are ones that geographic test databases know.
pub(crate) const PLACES: [Place; 8] = [
    place("de-CH", "Europe/Zurich", "Zürich", "ZH", "CH", "178.209.52"),
    place("en-GB", "Europe/London", "London", "ENG", "GB", "81.2.69"),
    place("sv-SE", "Europe/Stockholm", "Linköping", "E", "SE", "89.160.20"),
    place("en-US", "America/Los_Angeles", "Milton", "WA", "US", "216.160.83"),
    place("fr-FR", "Europe/Paris", "Paris", "IDF", "FR", "2.125.160"),
    place("de-DE", "Europe/Berlin", "München", "BY", "DE", "95.90.194"),
    place("ja-JP", "Asia/Tokyo", "東京", "13", "JP", "202.196.224"),
    place("zh-CN", "Asia/Shanghai", "长春", "22", "CN", "175.16.199"),
];

/// How visitors come: referrer and the query of the landing page.
pub(crate) const CAMPAIGNS: [(&str, &str); 7] = [
    ("", ""),
    ("https://www.google.com/", ""),
    ("https://www.google.com/", "?utm_source=google&utm_medium=cpc&utm_campaign=autumn%20boots&gclid=EAIaIQobChMI"),
    ("https://www.bing.com/search?q=rain+jacket", ""),
    ("https://l.facebook.com/", "?utm_source=facebook&utm_medium=social&utm_campaign=tents&fbclid=IwAR2x"),
    ("", "?utm_source=newsletter&utm_medium=email&utm_campaign=week-47&utm_content=hero"),
    ("https://news.ycombinator.com/item?id=1", ""),
];

/// What visitors look for.
pub(crate) const SEARCHES: [&[&str]; 6] =
    [&["boots"], &["rain", "jacket"], &["kids"], &["Schlafsack"], &["tent", "pegs"], &["gift"]];
