//! Which endpoint a method and a path mean (iglu-server spec, sections 1, 3 and 4).

use snowmelt_iglu::SchemaVer;
use uuid::Uuid;

use super::document::Identity;
use super::reply::Reply;
use super::representation::Representation;
use super::request::{is_public, parameter};
use crate::assets::{Asset, asset};

/// A service with a document of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Service {
    /// The registry.
    Schemas,
    /// Validation.
    Validation,
    /// Keys.
    Auth,
    /// Health and information.
    Meta,
    /// Drafts.
    Drafts,
}

impl Service {
    /// Every service.
    pub const ALL: [Self; 5] = [Self::Schemas, Self::Validation, Self::Auth, Self::Meta, Self::Drafts];

    /// Its segment of the path.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Schemas => "schemas",
            Self::Validation => "validation",
            Self::Auth => "auth",
            Self::Meta => "meta",
            Self::Drafts => "drafts",
        }
    }
}

/// Which schemas a list shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listed {
    /// All.
    All,
    /// Those of a vendor.
    Vendor(String),
    /// Those of a name, in all models or in one.
    Name(String, String, Option<i64>),
}

/// The identity of a draft.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DraftId {
    /// Vendor.
    pub vendor: String,
    /// Name.
    pub name: String,
    /// Format.
    pub format: String,
    /// Version, at least 0.
    pub version: i32,
}

/// An endpoint with what its path and query say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Route {
    /// A list of schemas.
    List(Listed, Representation),
    /// One schema.
    Read(Identity, Representation),
    /// Publishes under the identity of the path.
    Put(Identity, bool),
    /// Publishes under the identity of the body.
    Post(bool),
    /// Deletes.
    Delete(Identity),
    /// Lints the schema in the body.
    ValidateSchema,
    /// Validates the data in the body.
    ValidateInstance,
    /// Makes a pair of keys.
    CreateKeys,
    /// Deletes a key.
    DeleteKey(Uuid),
    /// Whether the server runs.
    Health,
    /// Whether the database answers.
    DatabaseHealth,
    /// What the server is, and what the key may do.
    ServerInfo,
    /// Every draft.
    ListDrafts,
    /// One draft.
    ReadDraft(DraftId),
    /// Stores a draft.
    PutDraft(DraftId, bool),
    /// The state dump, which a server with a database does not have.
    Debug,
    /// The description of one service, or of all.
    Description(Option<Service>, Text),
    /// A file of the web page.
    Page(&'static Asset),
    /// One schema as the web page shows it.
    Details(Identity),
    /// What changed between a schema and another version of it, for the web page.
    Compare(Identity, SchemaVer),
}

/// How a description is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Text {
    /// JSON.
    Json,
    /// The same, which is YAML too.
    Yaml,
}

/// What [`find`] gives: the endpoint, or the answer there is without one.
pub type Found = Result<Route, Reply>;

/// Whether a path, by its [segments](super::request::segments), lies below a layer that reads the key before anything else.
#[must_use]
pub fn takes_key(segments: &[&str]) -> bool {
    match segments {
        ["api", service, ..] => Service::ALL.iter().any(|known| known.name() == *service),
        ["ui", "schemas" | "compare", ..] => true,
        _ => false,
    }
}

/// The endpoint of a request, by its path's [segments](super::request::segments).
///
/// # Errors
/// The answer to a request that means none.
pub fn find(method: &str, segments: &[&str], query: &str, debug: bool) -> Found {
    match segments {
        ["api", "openapi.json"] => only_get(method, Route::Description(None, Text::Json)),
        ["api", "debug"] | ["api", "debug", ""] if debug => only_get(method, Route::Debug),
        ["api", service, rest @ ..] => {
            let Some(service) = Service::ALL.into_iter().find(|known| known.name() == *service) else {
                return Err(Reply::no_endpoint());
            };
            // An `OPTIONS` that asks for nothing that CORS knows.
            if method == "OPTIONS" {
                return Err(Reply::unknown_path());
            }
            let description = |text| Route::Description(Some(service), text);
            match (rest, service) {
                (["swagger.json"], _) if method == "GET" => Ok(description(Text::Json)),
                (["swagger.yaml"], _) if method == "GET" => Ok(description(Text::Yaml)),
                (rest, Service::Schemas) => schemas(method, rest, query),
                (rest, Service::Validation) => validation(method, rest),
                (rest, Service::Auth) => auth(method, rest, query),
                (rest, Service::Meta) => meta(method, rest),
                (rest, Service::Drafts) => drafts(method, rest, query),
            }
        }
        ["" | "index.html"] => page(method, "index.html"),
        // Where the original has Swagger UI.
        ["static", "swagger-ui", "" | "index.html"] => page(method, "interface.html"),
        ["ui", rest @ ..] => ui(method, rest),
        _ => Err(Reply::no_endpoint()),
    }
}

fn page(method: &str, name: &str) -> Found {
    let asset = asset(name).ok_or_else(Reply::no_endpoint)?;
    only_get(method, Route::Page(asset))
}

/// Files of the web page, and what it asks for.
fn ui(method: &str, rest: &[&str]) -> Found {
    let identity = |vendor: &str, name: &str, format: &str, version| {
        let (vendor, name, format) = (vendor.to_owned(), name.to_owned(), format.to_owned());
        Identity { vendor, name, format, version }
    };
    match rest {
        [name] => page(method, name),
        ["schemas", vendor, name, format, version] => {
            only_get(method, Route::Details(identity(vendor, name, format, version_of(version)?)))
        }
        ["compare", vendor, name, format, version, with] => {
            let (version, with) = (version_of(version)?, version_of(with)?);
            only_get(method, Route::Compare(identity(vendor, name, format, version), with))
        }
        _ => Err(Reply::no_endpoint()),
    }
}

fn only_get(method: &str, route: Route) -> Found {
    if method == "GET" { Ok(route) } else { Err(Reply::not_allowed(method, "GET")) }
}

fn schemas(method: &str, rest: &[&str], query: &str) -> Found {
    let listed = |listed| Ok(Route::List(listed, representation(query, Representation::Uri)?));
    match (method, rest) {
        ("GET", [] | [""]) => listed(Listed::All),
        ("POST", [] | [""]) => Ok(Route::Post(is_public(query)?)),
        (_, [] | [""]) => Err(Reply::not_allowed(method, "GET, POST")),
        ("GET", [vendor]) => listed(Listed::Vendor((*vendor).to_owned())),
        ("GET", [vendor, name]) => listed(Listed::Name((*vendor).to_owned(), (*name).to_owned(), None)),
        (_, [_] | [_, _]) => Err(Reply::not_allowed(method, "GET")),
        (_, [_, _, _, ""]) => {
            let message = "Version cannot be empty, should be model to get SchemaList or full SchemaVer";
            Err(Reply::message(404, message))
        }
        ("GET", [vendor, name, "jsonschema", model]) if model.parse::<i32>().is_ok() => {
            let model = model.parse::<i32>().ok().map(i64::from);
            listed(Listed::Name((*vendor).to_owned(), (*name).to_owned(), model))
        }
        ("GET" | "PUT" | "DELETE", [vendor, name, format, version]) => {
            let version = version_of(version)?;
            let (vendor, name, format) = ((*vendor).to_owned(), (*name).to_owned(), (*format).to_owned());
            let identity = Identity { vendor, name, format, version };
            match method {
                "GET" => Ok(Route::Read(identity, representation(query, Representation::Canonical)?)),
                "PUT" => Ok(Route::Put(identity, is_public(query)?)),
                _ => Ok(Route::Delete(identity)),
            }
        }
        (_, [_, _, _, _]) => Err(Reply::not_allowed(method, "PUT")),
        ("POST", ["validate", _, _, "jsonschema", version]) => {
            version_of(version)?;
            Ok(Route::ValidateSchema)
        }
        (_, ["validate", _, _, "jsonschema", _]) => Err(Reply::not_allowed(method, "POST")),
        _ => Err(Reply::unknown_path()),
    }
}

fn version_of(text: &str) -> Result<SchemaVer, Reply> {
    text.parse()
        .map_err(|_| Reply::bad_request(&format!("Cannot parse version part '{text}' as SchemaVer, INVALID_SCHEMAVER")))
}

fn representation(query: &str, default: Representation) -> Result<Representation, Reply> {
    let Some(name) = parameter(query, "repr") else { return Ok(default) };
    Representation::named(&name)
        .ok_or_else(|| Reply::bad_request(&format!("Unknown schema representation format: '{name}'")))
}

fn validation(method: &str, rest: &[&str]) -> Found {
    match (method, rest) {
        ("POST", ["validate", "schema", "jsonschema"]) => Ok(Route::ValidateSchema),
        ("POST", ["validate", "schema", format]) => {
            Err(Reply::bad_request(&format!("Unknown schema format: '{format}'")))
        }
        ("POST", ["validate", "instance"]) => Ok(Route::ValidateInstance),
        (_, ["validate", "schema", _] | ["validate", "instance"]) => Err(Reply::not_allowed(method, "POST")),
        _ => Err(Reply::unknown_path()),
    }
}

fn auth(method: &str, rest: &[&str], query: &str) -> Found {
    match (method, rest) {
        ("POST", ["keygen"]) => Ok(Route::CreateKeys),
        ("DELETE", ["keygen"]) => {
            let key = parameter(query, "key").ok_or_else(|| Reply::bad_request("Missing query param: key"))?;
            let uuid = (key.len() == 36).then(|| Uuid::try_parse(&key).ok()).flatten();
            uuid.map(Route::DeleteKey).ok_or_else(|| Reply::bad_request(&format!("Invalid uuid format: {key}")))
        }
        (_, ["keygen"]) => Err(Reply::not_allowed(method, "DELETE, POST")),
        _ => Err(Reply::unknown_path()),
    }
}

fn meta(method: &str, rest: &[&str]) -> Found {
    match rest {
        ["health"] => only_get(method, Route::Health),
        ["health", "db"] => only_get(method, Route::DatabaseHealth),
        ["server"] => only_get(method, Route::ServerInfo),
        _ => Err(Reply::unknown_path()),
    }
}

fn drafts(method: &str, rest: &[&str], query: &str) -> Found {
    match (method, rest) {
        ("GET", [] | [""]) => Ok(Route::ListDrafts),
        (_, [] | [""]) => Err(Reply::not_allowed(method, "GET")),
        ("GET" | "PUT", [vendor, name, format, version]) => {
            let number: i32 =
                version.parse().map_err(|_| Reply::bad_request(&format!("{version} is not an integer")))?;
            if number < 0 {
                return Err(Reply::bad_request(&format!("{version} is negative")));
            }
            let (vendor, name, format) = ((*vendor).to_owned(), (*name).to_owned(), (*format).to_owned());
            let id = DraftId { vendor, name, format, version: number };
            if method == "GET" { Ok(Route::ReadDraft(id)) } else { Ok(Route::PutDraft(id, is_public(query)?)) }
        }
        (_, [_, _, _, _]) => Err(Reply::not_allowed(method, "GET, PUT")),
        _ => Err(Reply::unknown_path()),
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use super::super::request::segments;
    use super::*;

    fn of<'s>(segments: &'s [Cow<'_, str>]) -> Vec<&'s str> {
        segments.iter().map(|segment| &**segment).collect()
    }

    fn answer(method: &str, target: &str) -> Result<Route, (u16, String)> {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        find(method, &of(&segments(path)), query, false)
            .map_err(|reply| (reply.status, String::from_utf8_lossy(&reply.body).into_owned()))
    }

    #[test]
    fn a_number_is_a_model_and_everything_else_a_version() {
        let list = |model| Listed::Name("com.acme".into(), "e".into(), model);
        let uri = Representation::Uri;
        assert_eq!(answer("GET", "/api/schemas/com.acme/e/jsonschema/1"), Ok(Route::List(list(Some(1)), uri)));
        assert_eq!(answer("GET", "/api/schemas/com.acme/e/jsonschema/-1"), Ok(Route::List(list(Some(-1)), uri)));
        assert_eq!(answer("GET", "/api/schemas/com.acme/e/avro/1").unwrap_err().0, 400);
        assert_eq!(
            answer("GET", "/api/schemas/com.acme/"),
            Ok(Route::List(Listed::Name("com.acme".into(), String::new(), None), uri))
        );
        assert_eq!(answer("GET", "/api/schemas/com.acme/e/jsonschema/").unwrap_err().0, 404);
        assert_eq!(answer("GET", "/api/schemas/"), Ok(Route::List(Listed::All, uri)));
    }

    #[test]
    fn methods_and_paths_that_mean_nothing_are_told() {
        let message = |text: &str| format!("{{\"message\":\"{text}\"}}");
        for (method, target, status, text) in [
            ("GET", "/boom", 404, "The endpoint does not exist"),
            ("GET", "/api/debug", 404, "The endpoint does not exist"),
            ("GET", "/api/meta/nothing", 404, ""),
            ("GET", "/api/schemas/a/b/c", 404, ""),
            ("OPTIONS", "/api/schemas", 404, ""),
            ("HEAD", "/api/schemas/v", 405, "HEAD not allowed. Defined methods: GET\\n"),
            ("POST", "/api/schemas/v/n/jsonschema/1-0-0", 405, "POST not allowed. Defined methods: PUT\\n"),
            ("PUT", "/api/schemas", 405, "PUT not allowed. Defined methods: GET, POST\\n"),
            ("POST", "/api/validation/validate/schema/avro", 400, "Unknown schema format: 'avro'"),
            ("GET", "/api/schemas/v/n/jsonschema/1-0-0?repr=foo", 400, "Unknown schema representation format: 'foo'"),
            ("PUT", "/api/drafts/v/n/jsonschema/x", 400, "x is not an integer"),
            ("DELETE", "/api/auth/keygen", 400, "Missing query param: key"),
        ] {
            assert_eq!(answer(method, target), Err((status, message(text))), "{method} {target}");
        }
    }

    #[test]
    fn services_have_a_key_layer_and_nothing_else_has() {
        let takes_key = |path| takes_key(&of(&segments(path)));
        assert!(takes_key("/api/schemas/x") && takes_key("/ui/schemas/a/b/jsonschema/1-0-0"));
        for path in ["/api/debug", "/static/x", "/", "/ui/main.js"] {
            assert!(!takes_key(path), "{path}");
        }
    }

    #[test]
    fn the_page_has_its_files_and_nothing_else() {
        let is_page = |target| matches!(answer("GET", target), Ok(Route::Page(_)));
        assert!(is_page("/") && is_page("/ui/main.js") && is_page("/static/swagger-ui/index.html"));
        for path in
            ["/ui/", "/ui/../Cargo.toml", "/ui/%2e%2e/main.js", "/ui/x.js", "/static/swagger-ui/x.js", "/ui/a/b"]
        {
            assert_eq!(answer("GET", path).unwrap_err().0, 404, "{path}");
        }
        assert_eq!(answer("POST", "/").unwrap_err().0, 405);
        assert_eq!(answer("GET", "/ui/compare/v/n/jsonschema/1-0-0/x").unwrap_err().0, 400);
        assert!(matches!(answer("GET", "/ui/compare/v/n/jsonschema/1-0-0/1-0-1"), Ok(Route::Compare(..))));
    }
}
