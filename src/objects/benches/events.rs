//! Enriched events for benches: always the same.

/// Lines of about 2,780 bytes: 131 fields, ids and numbers that do not repeat, contexts that nearly do.
pub fn events(count: u64) -> Vec<Vec<u8>> {
    (0..count).map(event).collect()
}

fn event(number: u64) -> Vec<u8> {
    let mut random = fastrand(number);
    let mut fields = vec![String::new(); 131];
    fields[0] = "shop".to_owned();
    fields[1] = "web".to_owned();
    fields[2] = format!("2024-03-05 09:{:02}:{:02}.{:03}", number / 1000 % 60, number / 17 % 60, random() % 1000);
    fields[3] = fields[2].clone();
    fields[5] = "page_view".to_owned();
    fields[6] = format!(
        "{:08x}-{:04x}-4{:03x}-a{:03x}-{:012x}",
        random() as u32,
        random() as u16,
        random() & 0xFFF,
        random() & 0xFFF,
        random() >> 16
    );
    fields[12] = format!("{}.{}.{}.{}", random() % 256, random() % 256, random() % 256, random() % 256);
    fields[29] = format!("https://shop.example/products/{}?campaign={}", random() % 5000, random() % 40);
    let browsers = ["Chrome/122.0.0.0 Safari/537.36", "Version/17.3 Safari/605.1.15", "Gecko/20100101 Firefox/123.0"];
    fields[101] = format!("Mozilla/5.0 (X11; Linux x86_64) {}", browsers[random() as usize % 3]);
    let entities: Vec<String> = (0..12)
        .map(|entity| {
            format!(
                r#"{{"schema":"iglu:com.corner/product/jsonschema/1-0-{entity}","data":{{"sku":"{:x}","price":{}.{:02},"currency":"EUR","name":"Item {}","inStock":true}}}}"#,
                random() as u32, random() % 500, random() % 100, random() % 5000
            )
        })
        .collect();
    fields[52] = format!(
        r#"{{"schema":"iglu:com.snowplowanalytics.snowplow/contexts/jsonschema/1-0-1","data":[{}]}}"#,
        entities.join(",")
    );
    fields[124] = fields[2].clone();
    let mut line = fields.join("\t");
    while line.len() < 2780 {
        line.push_str(&format!("{:x},", random() % 4096));
    }
    line.into_bytes()
}

/// A small generator, so that every run packs the same bytes.
fn fastrand(seed: u64) -> impl FnMut() -> u64 {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    }
}
