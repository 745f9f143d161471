//! The files of the web page, which are parts of the program: nothing is built, and nothing is loaded from elsewhere.

use std::sync::LazyLock;

use sha2::{Digest, Sha256};

/// What the page may do: scripts, styles and requests of its own server, and nothing else. No script or style stands in its
/// text, no page may frame it, and no form may be sent anywhere.
pub const SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
     connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// A file.
#[derive(Debug, PartialEq, Eq)]
pub struct Asset {
    /// Its name below `/ui/`.
    pub name: &'static str,
    /// `Content-Type`.
    pub content_type: &'static str,
    /// Its text.
    pub text: &'static str,
}

const HTML: &str = "text/html; charset=UTF-8";
const SCRIPT: &str = "text/javascript; charset=UTF-8";

macro_rules! assets {
    ($($name:literal: $content_type:expr),* $(,)?) => {
        &[$(Asset { name: $name, content_type: $content_type, text: include_str!(concat!("page/", $name)) }),*]
    };
}

const ASSETS: &[Asset] = assets! {
    "index.html": HTML,
    "interface.html": HTML,
    "style.css": "text/css; charset=UTF-8",
    "icon.svg": "image/svg+xml",
    "main.js": SCRIPT,
    "catalog.js": SCRIPT,
    "compare.js": SCRIPT,
    "dom.js": SCRIPT,
    "interface.js": SCRIPT,
    "key.js": SCRIPT,
    "nav.js": SCRIPT,
    "publish.js": SCRIPT,
    "registry.js": SCRIPT,
    "schema.js": SCRIPT,
    "validate.js": SCRIPT,
};

/// The file of a name.
#[must_use]
pub fn asset(name: &str) -> Option<&'static Asset> {
    ASSETS.iter().find(|asset| asset.name == name)
}

/// Changes with any of the files, so that a browser never mixes those of two releases.
pub fn etag() -> &'static str {
    static ETAG: LazyLock<String> = LazyLock::new(|| {
        let mut hash = Sha256::new();
        for asset in ASSETS {
            hash.update(asset.text);
        }
        let hex: String = hash.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        format!("\"{hex}\"")
    });
    &ETAG
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_loads_nothing_from_elsewhere_and_writes_no_markup() {
        for asset in ASSETS {
            let text = asset.text;
            for forbidden in ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "localStorage"]
            {
                assert!(!text.contains(forbidden), "{}: {forbidden}", asset.name);
            }
            // The name space of SVG and the addresses in explanations are no resources.
            for loader in ["src=\"http", "href=\"http", "url(http", "@import", "from 'http", "import('http"] {
                assert!(!text.contains(loader), "{}: {loader}", asset.name);
            }
        }
        let html = asset("index.html").unwrap().text;
        assert!(!html.contains(" style=") && !html.contains("<style") && !html.contains("onclick"));
    }
}
