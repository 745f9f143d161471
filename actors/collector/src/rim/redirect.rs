//! Plain HTTP beside HTTPS: every request is sent on (`ssl.redirect`, as in the original's generation 2).

use std::{future::Future, net::TcpListener};

use actix_web::{App, HttpRequest, HttpResponse, HttpServer, http::header::LOCATION, web};

use crate::CollectorError;

/// Answers every request on `listener` with 301 to the same address over HTTPS on `port`, until `shutdown` resolves.
///
/// # Errors
/// When the listener fails.
pub async fn redirect_to_https(
    listener: TcpListener,
    port: u16,
    shutdown: impl Future<Output = ()>,
) -> Result<(), CollectorError> {
    let app = move || App::new().default_service(web::to(move |request| async move { answer(&request, port) }));
    let server = HttpServer::new(app).workers(1).shutdown_timeout(1).disable_signals().listen(listener)?.run();
    let handle = server.handle();
    tokio::pin!(server);
    tokio::select! {
        ended = &mut server => return Ok(ended?),
        () = shutdown => {}
    }
    let (ended, ()) = tokio::join!(server, handle.stop(true));
    Ok(ended?)
}

fn answer(request: &HttpRequest, port: u16) -> HttpResponse {
    let host = request.headers().get("host").and_then(|value| value.to_str().ok());
    let target = request.uri().path_and_query().map_or("/", |target| target.as_str());
    match host.and_then(|host| location(host, target, port)) {
        Some(location) => HttpResponse::MovedPermanently().insert_header((LOCATION, location)).finish(),
        None => HttpResponse::BadRequest().finish(),
    }
}

/// Where a request to `host` is sent on to; none when its host is no host.
fn location(host: &str, target: &str, port: u16) -> Option<String> {
    let name = match host.strip_prefix('[') {
        Some(_) => host.split_inclusive(']').next()?,
        None => host.split(':').next()?,
    };
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-._[]:".contains(&byte);
    if name.is_empty() || !name.bytes().all(fits) || !target.starts_with('/') {
        return None;
    }
    Some(if port == 443 { format!("https://{name}{target}") } else { format!("https://{name}:{port}{target}") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_address_over_https() {
        let to = |host, target, port| location(host, target, port);
        assert_eq!(to("c.acme.example:8080", "/i?e=pv", 443).as_deref(), Some("https://c.acme.example/i?e=pv"));
        assert_eq!(to("c.acme.example", "/", 8443).as_deref(), Some("https://c.acme.example:8443/"));
        assert_eq!(to("[::1]:80", "/i", 443).as_deref(), Some("https://[::1]/i"));
        for (host, target) in [("", "/"), ("a@b", "/"), ("a/b", "/"), ("a", "*"), ("a\"b", "/")] {
            assert_eq!(to(host, target, 443), None, "{host}{target}");
        }
    }
}
