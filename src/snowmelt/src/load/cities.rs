//! A made-up database of cities in MaxMind's format, so that looking addresses up can be measured without theirs.
//!
//! As large as it needs to be for look-ups to cost what they do with a real one: tens of thousands of networks of 256
//! addresses, hundreds of thousands of nodes. Format: <https://maxmind.github.io/MaxMind-DB/>, version 2.0, records of 24 bits.

/// The first three bytes of an IPv4 network of 256 addresses.
pub type Network = [u8; 3];

/// Made-up networks besides those that are asked for.
const NETWORKS: usize = 50_000;
/// Different cities; networks share them.
const CITIES: usize = 5_000;
/// Between tree and data.
const SEPARATOR: [u8; 16] = [0; 16];
const METADATA_MARKER: &[u8] = b"\xAB\xCD\xEFMaxMind.com";

/// The database: each of these networks and many others lie in some city. The same arguments give the same bytes.
pub fn database(seed: u64, networks: &[Network]) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut data = Vec::new();
    let cities: Vec<usize> = (0..CITIES)
        .map(|number| {
            let place = data.len();
            city(number, &mut random, &mut data);
            place
        })
        .collect();
    let mut tree = Tree::default();
    let others: Vec<Network> = (0..NETWORKS).map(|_| [random.u8(1..224), random.u8(..), random.u8(..)]).collect();
    for network in others.iter().chain(networks) {
        tree.insert(*network, cities[random.usize(..CITIES)]);
    }
    let mut bytes = tree.bytes();
    bytes.extend(SEPARATOR);
    bytes.append(&mut data);
    bytes.extend(METADATA_MARKER);
    metadata(tree.nodes.len(), &mut bytes);
    bytes
}

/// A binary tree over the bits of addresses.
struct Tree {
    nodes: Vec<[Branch; 2]>,
}

#[derive(Clone, Copy)]
enum Branch {
    Nothing,
    Node(usize),
    /// Where in the data.
    City(usize),
}

impl Default for Tree {
    fn default() -> Self {
        Tree { nodes: vec![[Branch::Nothing; 2]] }
    }
}

impl Tree {
    fn insert(&mut self, [a, b, c]: Network, city: usize) {
        let bits = u32::from_be_bytes([0, a, b, c]);
        let bit = |depth: u32| (bits >> (23 - depth) & 1) as usize;
        let mut node = 0;
        for depth in 0..23 {
            node = match self.nodes[node][bit(depth)] {
                Branch::Node(next) => next,
                _ => {
                    self.nodes.push([Branch::Nothing; 2]);
                    let next = self.nodes.len() - 1;
                    self.nodes[node][bit(depth)] = Branch::Node(next);
                    next
                }
            };
        }
        self.nodes[node][bit(23)] = Branch::City(city);
    }

    fn bytes(&self) -> Vec<u8> {
        let count = self.nodes.len();
        let value = |branch: Branch| match branch {
            Branch::Nothing => count,
            Branch::Node(node) => node,
            Branch::City(place) => count + SEPARATOR.len() + place,
        };
        let record = |branch: Branch| (value(branch) as u32).to_be_bytes();
        self.nodes.iter().flatten().flat_map(|&branch| record(branch).into_iter().skip(1)).collect()
    }
}

/// A record as MaxMind's city databases have them.
fn city(number: usize, random: &mut fastrand::Rng, out: &mut Vec<u8>) {
    let name = format!("City {number}");
    map(5, out);
    text("city", out);
    names(&name, out);
    text("country", out);
    map(2, out);
    text("iso_code", out);
    text(["CH", "DE", "FR", "GB", "SE", "US"][number % 6], out);
    names_member("Somewhere", out);
    text("location", out);
    map(3, out);
    text("latitude", out);
    double(f64::from(random.i32(-900_000..900_000)) / 10_000.0, out);
    text("longitude", out);
    double(f64::from(random.i32(-1_800_000..1_800_000)) / 10_000.0, out);
    text("time_zone", out);
    text("Europe/Zurich", out);
    text("postal", out);
    map(1, out);
    text("code", out);
    text(&format!("{:05}", number * 17 % 100_000), out);
    text("subdivisions", out);
    list(1, out);
    map(2, out);
    text("iso_code", out);
    text("ZH", out);
    names_member("Canton", out);
}

/// `{"names": {"de": ..., "en": ...}}`
fn names(name: &str, out: &mut Vec<u8>) {
    map(1, out);
    names_member(name, out);
}

fn names_member(name: &str, out: &mut Vec<u8>) {
    text("names", out);
    map(2, out);
    text("de", out);
    text(&format!("{name} (de)"), out);
    text("en", out);
    text(name, out);
}

fn metadata(nodes: usize, out: &mut Vec<u8>) {
    map(9, out);
    text("binary_format_major_version", out);
    number(U16, 2, out);
    text("binary_format_minor_version", out);
    number(U16, 0, out);
    text("build_epoch", out);
    number(U64, 1_700_000_000, out);
    text("database_type", out);
    text("GeoIP2-City", out);
    text("description", out);
    map(0, out);
    text("ip_version", out);
    number(U16, 4, out);
    text("languages", out);
    list(1, out);
    text("en", out);
    text("node_count", out);
    number(U32, nodes as u64, out);
    text("record_size", out);
    number(U16, 24, out);
}

const TEXT: u8 = 2;
const DOUBLE: u8 = 3;
const U16: u8 = 5;
const U32: u8 = 6;
const MAP: u8 = 7;
const U64: u8 = 9;
const LIST: u8 = 11;

/// Kind and size of a value; sizes here are below 29.
fn control(kind: u8, size: usize, out: &mut Vec<u8>) {
    if kind <= MAP {
        out.push(kind << 5 | size as u8);
    } else {
        out.extend([size as u8, kind - MAP]);
    }
}

fn map(members: usize, out: &mut Vec<u8>) {
    control(MAP, members, out);
}

fn list(items: usize, out: &mut Vec<u8>) {
    control(LIST, items, out);
}

fn text(text: &str, out: &mut Vec<u8>) {
    control(TEXT, text.len(), out);
    out.extend(text.as_bytes());
}

fn double(value: f64, out: &mut Vec<u8>) {
    control(DOUBLE, 8, out);
    out.extend(value.to_be_bytes());
}

fn number(kind: u8, value: u64, out: &mut Vec<u8>) {
    let size = match kind {
        U16 => 2,
        U32 => 4,
        _ => 8,
    };
    control(kind, size, out);
    out.extend(&value.to_be_bytes()[8 - size..]);
}
