//! Redirects: `/r/<version>?u=<target>` (1.7).

use super::{answer::Answer, answer::Templates, form, route::host_of};
use crate::CollectorConfig;

/// Where clients may be sent.
#[derive(Debug)]
pub(super) struct RedirectRules {
    domains: Vec<String>,
    placeholder: Option<String>,
}

impl RedirectRules {
    pub(super) fn new(config: &CollectorConfig) -> Self {
        let redirect_macro = &config.redirect_macro;
        let placeholder = redirect_macro.placeholder.as_deref().filter(|text| !text.is_empty()).unwrap_or("${SP_NUID}");
        Self {
            domains: config.redirect_domains.clone(),
            placeholder: redirect_macro.enabled.then(|| placeholder.to_owned()),
        }
    }

    /// 302 to `u`, sent back unchanged once it is checked; 400 when it is missing, no URI or not allowed.
    pub(super) fn answer(&self, templates: &Templates, query: &str, network_user_id: &str) -> Answer {
        let target = form::first_value(query, "u").map(|target| match &self.placeholder {
            Some(placeholder) => target.replace(placeholder.as_str(), network_user_id),
            None => target.into_owned(),
        });
        match target.filter(|target| self.allowed(target)) {
            Some(target) => {
                let mut answer = templates.empty(302);
                answer.push("Location", target);
                answer
            }
            None => templates.empty(400),
        }
    }

    fn allowed(&self, target: &str) -> bool {
        let Some(host) = uri_reference_host(target) else { return false };
        self.domains.is_empty() || host.is_some_and(|host| self.domains.iter().any(|domain| domain == host))
    }
}

/// Checks that a text is an RFC 3986 URI reference (`[` and `]` allowed in the query, too); gives its host.
fn uri_reference_host(text: &str) -> Option<Option<&str>> {
    let bytes = text.as_bytes();
    let (before_fragment, fragment) = text.split_once('#').unwrap_or((text, ""));
    let (hierarchy, query) = before_fragment.split_once('?').unwrap_or((before_fragment, ""));
    let (scheme, rest) = match hierarchy.split_once(':') {
        Some((scheme, rest)) if !scheme.contains('/') => (Some(scheme), rest),
        _ => (None, hierarchy),
    };
    let scheme_ok = scheme.is_none_or(|scheme| {
        scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
    });
    let (authority, path) = match rest.strip_prefix("//") {
        Some(rest) => {
            let end = rest.find('/').unwrap_or(rest.len());
            (Some(&rest[..end]), &rest[end..])
        }
        None => (None, rest),
    };
    let pchar = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@%".contains(&byte);
    let well_formed = scheme_ok
        && authority.is_none_or(authority_ok)
        && path.bytes().all(|byte| pchar(byte) || byte == b'/')
        && query.bytes().all(|byte| pchar(byte) || b"/?[]".contains(&byte))
        && fragment.bytes().all(|byte| pchar(byte) || b"/?".contains(&byte))
        && escapes_ok(bytes);
    well_formed.then(|| authority.map(host_of).filter(|host| !host.is_empty()))
}

fn authority_ok(authority: &str) -> bool {
    let (user, host_and_port) = authority.rsplit_once('@').unwrap_or(("", authority));
    let host = host_of(host_and_port);
    let port = &host_and_port[host.len()..];
    let name_ok =
        |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=%".contains(&byte));
    let host_ok = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => name_ok(host),
    };
    let port_ok =
        port.is_empty() || port.strip_prefix(':').is_some_and(|port| port.bytes().all(|byte| byte.is_ascii_digit()));
    user.split(':').all(name_ok) && host_ok && port_ok
}

fn escapes_ok(bytes: &[u8]) -> bool {
    memchr::memchr_iter(b'%', bytes)
        .all(|at| bytes.get(at + 1..at + 3).is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_must_be_uris() {
        for (text, host) in [
            ("https://acme.example/", Some("acme.example")),
            ("http://acme.example:8443/a?b[]=c#d%20e", Some("acme.example")),
            ("https://acme.example@evil.example/", Some("evil.example")),
            ("//evil.example/x", Some("evil.example")),
            ("http:///evil.example", None),
            ("https:evil.example", None),
            ("/relative:path", None),
            ("javascript:alert(1)", None),
            ("http://[::1]:80/", Some("[::1]")),
        ] {
            assert_eq!(uri_reference_host(text), Some(host), "{text}");
        }
        for text in [
            "a b",
            "http://a\\@b/",
            "x\r\nSet-Cookie: a=b",
            "é",
            "%zz",
            "http://a:b:c@d:x/",
            "http://[a]/",
            "1a:b",
            "{",
        ] {
            assert_eq!(uri_reference_host(text), None, "{text}");
        }
    }

    #[test]
    fn only_listed_hosts_are_allowed_and_exactly() {
        let rules = RedirectRules { domains: vec!["acme.example".to_owned()], placeholder: None };
        assert!(rules.allowed("http://acme.example:8443/"));
        for text in [
            "http://www.acme.example/",
            "http://ACME.example/",
            "/x",
            "javascript:x",
            "//evil.example",
            "http://acme.example@b/",
        ] {
            assert!(!rules.allowed(text), "{text}");
        }
    }

    #[test]
    fn the_macro_is_replaced_before_the_check() {
        let mut config = CollectorConfig::default();
        config.redirect_macro.enabled = true;
        let rules = RedirectRules::new(&config);
        let templates = Templates::new(&config);
        let answer = rules.answer(&templates, "u=https%3A%2F%2Fa.example%2F%24%7BSP_NUID%7D", "id-1");
        assert_eq!(answer.header("Location"), Some("https://a.example/id-1"));
    }
}
