//! The text form of a payload in the collector's size violations (collector 4.3). For reading only: values are not
//! escaped, it can not be parsed back.

use std::borrow::Cow;
use std::fmt::Write;

use crate::payload::CollectorPayload;

pub(super) fn write(payload: &CollectorPayload<'_>, out: &mut String) {
    out.push_str("CollectorPayload(");
    required("schema:", &payload.schema, out);
    required(", ipAddress:", &payload.ip_address, out);
    write!(out, ", timestamp:{}", payload.timestamp).expect("writing to a String can not fail");
    required(", encoding:", &payload.encoding, out);
    required(", collector:", &payload.collector, out);
    optional(", userAgent:", payload.user_agent.as_deref(), out);
    optional(", refererUri:", payload.referer_uri.as_deref(), out);
    optional(", path:", payload.path.as_deref(), out);
    optional(", querystring:", payload.querystring.as_deref(), out);
    optional(", body:", payload.body_text().as_deref(), out);
    if let Some(headers) = &payload.headers {
        out.push_str(", headers:[");
        for (index, line) in headers.iter().enumerate() {
            if index > 0 {
                out.push_str(", ");
            }
            out.push_str(line);
        }
        out.push(']');
    }
    optional(", contentType:", payload.content_type.as_deref(), out);
    optional(", hostname:", payload.hostname.as_deref(), out);
    optional(", networkUserId:", payload.network_userid.as_deref(), out);
    out.push(')');
}

fn required(label: &str, value: &Option<Cow<'_, str>>, out: &mut String) {
    out.push_str(label);
    out.push_str(value.as_deref().unwrap_or("null"));
}

fn optional(label: &str, value: Option<&str>, out: &mut String) {
    if let Some(value) = value {
        out.push_str(label);
        out.push_str(value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absent_required_fields_print_null_and_absent_optional_ones_nothing() {
        let payload = CollectorPayload {
            ip_address: Some("192.0.2.9".into()),
            timestamp: 5,
            body: Some(Cow::Borrowed(b"{}")),
            headers: Some(vec!["A: 1".into(), "B: 2".into()]),
            ..CollectorPayload::default()
        };
        let mut text = String::new();
        payload.write_text(&mut text);
        assert_eq!(
            text,
            "CollectorPayload(schema:null, ipAddress:192.0.2.9, timestamp:5, encoding:null, collector:null, body:{}, \
             headers:[A: 1, B: 2])"
        );
    }
}
