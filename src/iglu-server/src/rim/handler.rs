//! One request: its key, its route, its body, its answer.

use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderValue};
use actix_web::web::{Bytes, Data, Payload};
use actix_web::{HttpRequest, HttpResponse};

use super::{body, cross_origin};
use crate::assets;
use crate::core::permission::Permission;
use crate::core::reply::Reply;
use crate::core::request::segments;
use crate::core::route::{self, Route};
use crate::service::Service;

/// Name of the header with the key.
const API_KEY: &str = "apikey";

/// Answers any request.
pub(super) async fn handle(request: HttpRequest, payload: Payload, service: Data<Service>) -> HttpResponse {
    let method = request.method().as_str();
    if cross_origin::is_preflight(method, request.headers()) {
        let mut response = HttpResponse::Ok();
        cross_origin::answer_preflight(&mut response, request.headers());
        common_headers(&mut response, &service);
        return response.finish();
    }
    let reply = match prepare(&request, payload, &service).await {
        Ok((route, caller, body)) => service.answer(route, &caller, body).await,
        Err(reply) => reply,
    };
    respond(&request, reply, &service)
}

/// What is looked at before the endpoint works, in this order: key, path and query, body.
async fn prepare(
    request: &HttpRequest,
    payload: Payload,
    service: &Service,
) -> Result<(Route, Permission, Bytes), Reply> {
    let segments = segments(request.uri().path());
    let segments: Vec<&str> = segments.iter().map(|segment| &**segment).collect();
    let caller = if route::takes_key(&segments) {
        service.caller(request.headers().get(API_KEY).map(|value| value.as_bytes()))?
    } else {
        Permission::anonymous()
    };
    let route = route::find(request.method().as_str(), &segments, request.query_string(), service.config.debug)?;
    let body = if Service::takes_body(&route) {
        body::read(payload, service.config.max_payload_bytes, service.config.request_timeout).await?
    } else {
        Bytes::new()
    };
    Ok((route, caller, body))
}

fn respond(request: &HttpRequest, reply: Reply, service: &Service) -> HttpResponse {
    let status = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = HttpResponse::build(status);
    cross_origin::allow_origin(&mut response, request.headers());
    common_headers(&mut response, service);
    if reply.content_type.starts_with("text/html") {
        response.insert_header((header::CONTENT_SECURITY_POLICY, assets::SECURITY_POLICY));
        response.insert_header((header::REFERRER_POLICY, "no-referrer"));
    }
    if let Some(etag) = &reply.etag {
        // What is not public depends on the key, and anything may be patched: keep it, but ask whether it is still so.
        response.insert_header((header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache")));
        response.insert_header((header::ETAG, etag.as_str()));
        let known = request.headers().get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok());
        if known.is_some_and(|known| known.split(',').any(|tag| tag.trim().trim_start_matches("W/") == etag)) {
            return response.status(StatusCode::NOT_MODIFIED).finish();
        }
    }
    response.insert_header((header::CONTENT_TYPE, HeaderValue::from_static(reply.content_type))).body(reply.body)
}

fn common_headers(response: &mut actix_web::HttpResponseBuilder, service: &Service) {
    response.insert_header((header::VARY, HeaderValue::from_static("Origin, apikey")));
    // Bodies hold what users sent: no browser should take them for something else.
    response.insert_header((header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")));
    if let Some(age) = service.config.hsts {
        let value = format!("max-age={}; includeSubDomains", age.as_secs());
        response.insert_header((header::STRICT_TRANSPORT_SECURITY, value));
    }
}
