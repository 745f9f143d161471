//! `[iglu]`: a schema registry.

use std::net::{SocketAddr, ToSocketAddrs};
use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use snowmelt_iglu_server::config::hocon::{self, Original};
use snowmelt_iglu_server::{ServerConfig, WebHook};

use super::build::Table;
use super::model::Registry;
use super::problem::Problem;

/// The registry of a checked section.
pub(super) fn registry(table: &Table<'_>, problems: &mut Vec<Problem>) -> Registry {
    let original = table.path("config").and_then(|file| match original(&file) {
        Ok(original) => Some(original),
        Err(reason) => {
            problems.push(table.problem("config", reason));
            None
        }
    });
    let database = match table.text("database").as_deref() {
        None => original.as_ref().and_then(|original| original.database.clone()),
        Some("backend") => None,
        Some(url) if url.starts_with("postgres://") || url.starts_with("postgresql://") => Some(url.to_owned()),
        Some(_) => {
            // The value may hold a password: it is not shown.
            problems.push(table.hidden_problem("database", "has to be `backend` or a postgres:// URL"));
            None
        }
    };
    let (super_key_file, super_key_env) = (table.path("super_key_file"), table.text("super_key_env"));
    if super_key_file.is_some() && super_key_env.is_some() {
        problems.push(table.problem("super_key_env", "give super_key_file or super_key_env, not both"));
    }
    let own_key = super_key_file.is_none() && super_key_env.is_none();
    let (listen, connections, default, notes) = match original {
        Some(original) => (Some(original.listen), original.connections, original.server, original.notes),
        None => {
            let server = ServerConfig { pre_termination_period: Duration::ZERO, ..ServerConfig::default() };
            (None, 6, server, Vec::new())
        }
    };
    let server = ServerConfig {
        // One that is named here is over one in the file.
        super_key: default.super_key.filter(|_| own_key),
        patches_allowed: table.bool("patches_allowed", default.patches_allowed),
        debug: table.bool("debug", default.debug),
        max_json_depth: table.int("max_json_depth", default.max_json_depth),
        max_payload_bytes: table.bytes("max_payload_size", default.max_payload_bytes),
        web_hooks: web_hooks(table, problems).unwrap_or(default.web_hooks),
        base_url: table.text("base_url").unwrap_or(default.base_url),
        hsts: table.get("hsts").map(|_| table.duration("hsts", Duration::ZERO)).or(default.hsts),
        cache_bytes: table.bytes("cache", default.cache_bytes),
        check_every: table.duration("check_every", default.check_every),
        workers: table.int("workers", default.workers),
        max_connections: table.int("max_connections", default.max_connections),
        idle_timeout: table.duration("idle_timeout", default.idle_timeout),
        pre_termination_period: table.duration("pre_termination_period", default.pre_termination_period),
        pre_termination_unhealthy: table.bool("pre_termination_unhealthy", default.pre_termination_unhealthy),
        ..default
    };
    let listen = table.address("listen").or_else(|| {
        let (host, port) = listen?;
        let address = (host.as_str(), port).to_socket_addrs().ok().and_then(|mut found| found.next());
        if address.is_none() {
            problems.push(table.problem("config", format!("repoServer.interface {host} is no address of a machine")));
        }
        address
    });
    Registry {
        listen: listen.unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 8081))),
        database,
        schema: table.text("schema").unwrap_or_else(|| "public".to_owned()),
        connections: u32::try_from(table.int("connections", 0)).ok().filter(|own| *own > 0).unwrap_or(connections),
        super_key_file,
        super_key_env,
        server,
        notes,
    }
}

/// The original's file, `${VARIABLE}`s from the environment.
fn original(file: &Path) -> Result<Original, String> {
    let text = std::fs::read_to_string(file).map_err(|error| format!("can't be read: {error}"))?;
    let folder = file.parent().unwrap_or(Path::new(""));
    let environment = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    let mut original = hocon::parse(&text, folder, &environment).map_err(|error| error.to_string())?;
    original.notes.iter_mut().for_each(|note| *note = format!("{}: {note}", file.display()));
    Ok(original)
}

fn web_hooks(table: &Table<'_>, problems: &mut Vec<Problem>) -> Option<Vec<WebHook>> {
    let given = table.get("web_hooks").and_then(Value::as_object)?;
    let mut hooks = Vec::new();
    for (name, given) in given {
        match web_hook(given) {
            Some(hook) => hooks.push(hook),
            None => {
                let message = "has to be a table with uri = \"https://...\", and maybe vendor_prefixes = [\"com.acme\"] and use_post = true";
                problems.push(table.hidden_problem(&format!("web_hooks.{name}"), message));
            }
        }
    }
    Some(hooks)
}

fn web_hook(given: &Value) -> Option<WebHook> {
    let members = given.as_object()?;
    let known = |name: &String| matches!(name.as_str(), "uri" | "vendor_prefixes" | "use_post");
    if !members.keys().all(known) {
        return None;
    }
    let uri = members.get("uri")?.as_str().filter(|uri| uri.starts_with("http://") || uri.starts_with("https://"))?;
    let prefixes = match members.get("vendor_prefixes") {
        None => Vec::new(),
        Some(given) => given.as_array()?.iter().map(|one| one.as_str().map(str::to_owned)).collect::<Option<_>>()?,
    };
    let use_post = members.get("use_post").map_or(Some(false), Value::as_bool)?;
    Some(WebHook { uri: uri.to_owned(), vendor_prefixes: prefixes, use_post })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::definition::model::Work;
    use crate::definition::{Originals, Overrides, load};
    use serde_json::json;

    /// The registry of a definition with these lines in its `[iglu]`, beside a `config.hocon`.
    fn loaded(lines: &str, config: &str) -> Result<Registry, String> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("config.hocon"), config).unwrap();
        let file = folder.path().join("iglu.toml");
        std::fs::write(&file, format!("name = \"iglu\"\n[iglu]\n{lines}\n")).unwrap();
        let plan =
            load(&[file], &Originals::default(), &Overrides::default()).map_err(|trouble| format!("{trouble:?}"))?;
        match plan.definitions.into_iter().next().map(|definition| definition.work) {
            Some(Work::Registry(registry)) => Ok(registry),
            other => Err(format!("{other:?}")),
        }
    }

    const CONFIG: &str = "repoServer { port = 8085, interface = \"127.0.0.1\" }
        database { host = db, dbname = igludb, username = me, password = iglusecret, driver = x }
        superApiKey = \"5fb4713d-73ad-4163-93a9-2b82f0177c5b\", patchesAllowed = true";

    #[test]
    fn the_originals_file_says_what_the_definition_does_not() {
        let registry = loaded("config = \"config.hocon\"", CONFIG).unwrap();
        assert_eq!(registry.listen.to_string(), "127.0.0.1:8085");
        assert_eq!(registry.database.as_deref(), Some("postgres://me:iglusecret@db:5432/igludb"));
        assert!(registry.server.patches_allowed && registry.server.super_key.is_some());
        assert!(registry.notes.iter().any(|note| note.contains("database.driver")), "{:?}", registry.notes);
        assert!(!format!("{:?}", registry.server).contains("5fb4713d"));

        let over = "config = \"config.hocon\"\nlisten = \"127.0.0.1:1\"\ndatabase = \"backend\"\npatches_allowed = false\nsuper_key_env = \"X\"";
        let registry = loaded(over, CONFIG).unwrap();
        assert_eq!((registry.listen.port(), registry.database, registry.server.patches_allowed), (1, None, false));
        assert!(registry.server.super_key.is_none(), "the key named here counts");
        assert_eq!(loaded("", "").unwrap().listen.to_string(), "127.0.0.1:8081");
    }

    #[test]
    fn a_mistake_in_the_originals_file_is_one_of_the_definition() {
        let mistake = loaded("config = \"config.hocon\"", &CONFIG.replace("8085", "soon")).unwrap_err();
        assert!(mistake.contains("iglu.config") && mistake.contains("repoServer.port has to be"), "{mistake}");
        assert!(!mistake.contains("iglusecret"), "{mistake}");
        assert!(loaded("config = \"nothing.hocon\"", "").unwrap_err().contains("nothing.hocon"));
    }

    #[test]
    fn a_hook_has_an_address_and_nothing_unknown() {
        let hook = web_hook(&json!({"uri": "https://x/h", "vendor_prefixes": ["com.acme"]})).unwrap();
        assert_eq!((hook.vendor_prefixes.len(), hook.use_post), (1, false));
        for wrong in [json!({}), json!({"uri": "ftp://x"}), json!({"uri": "https://x", "post": true}), json!(1)] {
            assert!(web_hook(&wrong).is_none(), "{wrong}");
        }
    }
}
