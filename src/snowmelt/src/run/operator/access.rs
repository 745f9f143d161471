//! Who may use the API: whoever is on this machine, or whoever has the token.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::Method;
use actix_web::http::header::{AUTHORIZATION, HOST, HeaderMap, ORIGIN, WWW_AUTHENTICATE};
use actix_web::middleware::Next;
use actix_web::{Error, HttpResponse, web};
use subtle::ConstantTimeEq;

use crate::trouble::{Outcome, Trouble};

/// A shorter token could be guessed.
const MIN_TOKEN_BYTES: usize = 16;
/// A token is one line, not a file put there by mistake.
const MAX_TOKEN_BYTES: usize = 4096;

/// Who may use the API.
#[derive(Clone, Default)]
pub struct Access {
    token: Option<Vec<u8>>,
}

impl Access {
    /// Everybody on this machine without a file, else who has the file's token.
    pub fn new(token_file: Option<&Path>) -> Outcome<Self> {
        let token = token_file.map(read_token).transpose()?.map(String::into_bytes);
        Ok(Self { token })
    }

    /// Whether a token is needed.
    pub const fn has_token(&self) -> bool {
        self.token.is_some()
    }

    /// What is wrong with a request, if anything.
    fn refuses(&self, method: &Method, headers: &HeaderMap) -> Option<Refusal> {
        let Some(token) = &self.token else {
            // Without a token the browser of somebody on this machine could be made to ask by any web page: by a name that
            // leads here, or by a form.
            let host = headers.get(HOST).and_then(|host| host.to_str().ok());
            if !host.is_none_or(is_local) {
                return Some(Refusal::Host);
            }
            return (*method != Method::GET && headers.contains_key(ORIGIN)).then_some(Refusal::Origin);
        };
        let given = headers.get(AUTHORIZATION).and_then(|value| {
            let (scheme, given) = value.as_bytes().split_at_checked("Bearer ".len())?;
            scheme.eq_ignore_ascii_case(b"Bearer ").then_some(given)
        });
        let right = given.is_some_and(|given| bool::from(given.ct_eq(token)));
        (!right).then_some(Refusal::Token)
    }
}

/// Why a request is not answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Refusal {
    Token,
    Host,
    Origin,
}

/// Reads a token's file.
pub fn read_token(file: &Path) -> Outcome<String> {
    let name = file.display();
    let wrong = |message: String| Trouble::user(format!("operator token {name}: {message}"));
    let metadata = std::fs::metadata(file).map_err(|error| wrong(error.to_string()))?;
    if metadata.len() > MAX_TOKEN_BYTES as u64 {
        return Err(wrong(format!("a token has at most {MAX_TOKEN_BYTES} bytes")));
    }
    if metadata.permissions().mode() & 0o077 != 0 {
        tracing::warn!(file = %name, "the operator token can be read by others; chmod 600 it");
    }
    let text = std::fs::read_to_string(file).map_err(|error| wrong(error.to_string()))?;
    let token = text.trim();
    if token.len() < MIN_TOKEN_BYTES {
        return Err(wrong(format!(
            "a token has at least {MIN_TOKEN_BYTES} characters, e.g. of `openssl rand -hex 32`"
        )));
    }
    if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(wrong("a token has letters, digits and signs of ASCII only".to_owned()));
    }
    Ok(token.to_owned())
}

fn is_local(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    name.eq_ignore_ascii_case("localhost")
        || name.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Lets a request through, or answers 401 or 403. `/health` is for everybody.
pub async fn check(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    let refusal = request
        .app_data::<web::Data<Access>>()
        .filter(|_| request.path() != "/health")
        .and_then(|access| access.refuses(request.method(), request.headers()));
    let answer = match refusal {
        None => return Ok(next.call(request).await?.map_into_boxed_body()),
        Some(Refusal::Token) => HttpResponse::Unauthorized()
            .insert_header((WWW_AUTHENTICATE, "Bearer"))
            .body("the operator API needs its token: Authorization: Bearer TOKEN\n"),
        Some(Refusal::Host) => HttpResponse::Forbidden()
            .body("without a token the operator API answers to localhost and loopback addresses only\n"),
        Some(Refusal::Origin) => {
            HttpResponse::Forbidden().body("without a token the operator API takes no commands from web pages\n")
        }
    };
    Ok(request.into_response(answer))
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::{HeaderName, HeaderValue};

    use super::*;

    fn headers(pairs: &[(HeaderName, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.clone(), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn with_a_token_only_its_bearer_is_let_in() {
        let access = Access { token: Some(b"0123456789abcdef".to_vec()) };
        let ask = |value: &'static str| access.refuses(&Method::GET, &headers(&[(AUTHORIZATION, value)]));
        assert_eq!(ask("Bearer 0123456789abcdef"), None);
        assert_eq!(ask("bearer 0123456789abcdef"), None);
        for wrong in ["Bearer 0123456789abcdeF", "Bearer 0123456789abcde", "Bearer ", "Basic 0123456789abcdef", "x"] {
            assert_eq!(ask(wrong), Some(Refusal::Token), "{wrong}");
        }
        assert_eq!(access.refuses(&Method::GET, &HeaderMap::new()), Some(Refusal::Token));
    }

    #[test]
    fn without_a_token_web_pages_can_neither_read_nor_command() {
        let access = Access::default();
        let ask = |method, pairs: &[(HeaderName, &'static str)]| access.refuses(method, &headers(pairs));
        for host in ["127.0.0.1:8090", "localhost:8090", "LocalHost", "[::1]:8090", "127.8.8.8"] {
            assert_eq!(ask(&Method::POST, &[(HOST, host)]), None, "{host}");
        }
        for host in ["evil.example:8090", "127.0.0.1.evil.example", "10.0.0.1", "[::2]:8090", ""] {
            assert_eq!(ask(&Method::GET, &[(HOST, host)]), Some(Refusal::Host), "{host}");
        }
        let page = [(HOST, "localhost:8090"), (ORIGIN, "https://evil.example")];
        assert_eq!(ask(&Method::POST, &page), Some(Refusal::Origin));
    }

    #[test]
    fn a_token_that_is_missing_or_short_is_refused_with_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("token");
        assert!(read_token(&file).unwrap_err().to_string().contains("token"));
        std::fs::write(&file, "short\n").unwrap();
        assert!(read_token(&file).unwrap_err().to_string().contains("at least 16"));
        std::fs::write(&file, "0123456789abcdef\n").unwrap();
        assert_eq!(read_token(&file).unwrap(), "0123456789abcdef");
    }
}
